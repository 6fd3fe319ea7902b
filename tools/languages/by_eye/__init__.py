"""What can be said of a text without a parser: heads and names (`reading`), and where a name is meant (`naming`)."""

from forklock.tools.languages.by_eye.naming import CALLED_FOR as CALLED_FOR
from forklock.tools.languages.by_eye.naming import Naming as Naming
from forklock.tools.languages.by_eye.reading import PASSED as PASSED
from forklock.tools.languages.by_eye.reading import RESERVED as RESERVED
from forklock.tools.languages.by_eye.reading import comment_before as comment_before
from forklock.tools.languages.by_eye.reading import head as head
from forklock.tools.languages.by_eye.reading import unmarked as unmarked
from forklock.tools.languages.by_eye.reading import written as written
