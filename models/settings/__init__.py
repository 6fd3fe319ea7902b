"""Settings: where they are read from, which of them a repository may choose, and the section `[models]`."""

from models.settings.files import BadSettings, FaultClass, SettingsFile, find_settings_file, find_user_file
from models.settings.models import ModelSettings
from models.settings.room import Origin, RepositoryMay, RoomSettings

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
