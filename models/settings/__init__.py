"""Settings: where they are read from, which of them a repository may choose, and the section `[models]`."""

from forklock.models.settings.files import (
    BadSettings,
    FaultClass,
    SettingsFile,
    find_settings_file,
    find_user_file,
)
from forklock.models.settings.models import ModelSettings
from forklock.models.settings.room import Origin, RepositoryMay, RoomSettings

__all__ = [
    "BadSettings",
    "FaultClass",
    "ModelSettings",
    "Origin",
    "RepositoryMay",
    "RoomSettings",
    "SettingsFile",
    "find_settings_file",
    "find_user_file",
]
