"""What the model is shown and asked, and how its answer is read: one file for each way of asking."""

from agent.asking.lanes import LaneMaker as LaneMaker
from agent.asking.material import Material as Material
from agent.asking.material import read_text as read_text
from agent.asking.places import RankedPlace as RankedPlace
from agent.asking.places import ranked_places as ranked_places
from agent.asking.protocol import Protocol as Protocol
from agent.asking.protocol import ProtocolName as ProtocolName
from agent.asking.ways import WayName as WayName
