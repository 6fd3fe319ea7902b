"""What the model is shown and asked, and how its answer is read: one file for each way of asking."""

from forklock.agent.asking.lanes import LaneMaker as LaneMaker
from forklock.agent.asking.material import Material as Material
from forklock.agent.asking.material import read_text as read_text
from forklock.agent.asking.places import RankedPlace as RankedPlace
from forklock.agent.asking.places import ranked_places as ranked_places
from forklock.agent.asking.protocol import Protocol as Protocol
from forklock.agent.asking.protocol import ProtocolName as ProtocolName
from forklock.agent.asking.ways import WayName as WayName
