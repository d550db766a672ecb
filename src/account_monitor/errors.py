"""Every deliberate error, and whose fault it is.

AccountMonitorError
├── ConfigurationError        the operator's: one line, exit code 2
│   └── TokensRefused         the file of tokens: others can read it, or it cannot be understood
├── MalformedEvent            the publisher's: parked in the dead letters, the feed goes on
├── JournalError              the journal cannot be used
│   ├── JournalInUse          another process writes it
│   ├── JournalTooNew         written by a younger version of this program
│   ├── JournalTooOld         written by an older one, and not migrated yet
│   ├── JournalCorrupt        the hash chain or the file is broken
│   │   └── JournalDamaged    it is this file that is, whatever others hold
│   ├── JournalCompacted      what is asked for is in the history only
│   └── RecordingStopped      a write failed (disk full, I/O error); nothing is recorded until it is opened anew
├── StartAborted              nobody's: the process was asked to stop before it had started
├── HistoryUnavailable        the history store cannot be reached or used now; what it lacks is written later
│   ├── HistoryRefused        waiting does not help: a wrong password, no rights, a table that is gone
│   └── HistoryDiffers        it holds the past of another journal; nothing is written until somebody decides
├── FeedUnavailable           the source cannot be reached; the feed tries again
├── StorageUnavailable        a store beside the journal cannot be reached or written; it is tried again
│   └── StorageRefused        waiting does not help: a wrong password, no rights, a database that is not there
├── LeaseLost                 nobody's: another process speaks for the account now, and this one stops
├── ChannelFailed             a channel to people did not take a letter; it is tried again
└── CommandFailed             a command could not do what it was asked; exit code 1
"""

from __future__ import annotations


class AccountMonitorError(Exception):
    """Base of every error that this program raises on purpose."""


class ConfigurationError(AccountMonitorError):
    """The configuration names something that is not allowed. The text names file, key, value and what is allowed."""


class TokensRefused(ConfigurationError):
    """The file of tokens may not be used. The text names it, what is wrong, and what is expected."""


class MalformedEvent(AccountMonitorError):
    """A message from outside that cannot be an event.

    `reason` names the key, the value and what was expected; it is kept with the dead letter.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class JournalError(AccountMonitorError):
    """The journal cannot be used as asked."""


class JournalInUse(JournalError):
    """Another process writes this journal."""


class JournalTooNew(JournalError):
    """The file was written by a younger version, whose schema this one does not know."""


class JournalTooOld(JournalError):
    """The file was written by an older version; whoever writes it next brings its schema up to date."""


class JournalCorrupt(JournalError):
    """The file or its hash chain is broken; the text names the first entry that does not fit."""


class JournalDamaged(JournalCorrupt):
    """This very file cannot be read, or is not what was written into it; a copy elsewhere may be whole."""


class JournalCompacted(JournalError):
    """Older entries are in the history only."""


class RecordingStopped(JournalError):
    """A write or flush failed. After that nothing may be trusted to this handle: restart and verify."""


class StartAborted(AccountMonitorError):
    """The process was asked to stop before it had started."""


class HistoryUnavailable(AccountMonitorError):
    """The history store cannot be reached or used now."""


class HistoryRefused(HistoryUnavailable):
    """The history store cannot be used until somebody changes something; the text says what."""


class HistoryDiffers(HistoryUnavailable):
    """The history store holds what another journal of the same account recorded."""


class FeedUnavailable(AccountMonitorError):
    """The source of events cannot be reached now."""


class StorageUnavailable(AccountMonitorError):
    """A store that follows the journal cannot be reached or written now; the text says where and why."""


class StorageRefused(StorageUnavailable):
    """A store that follows the journal cannot be used until somebody changes something; the text says what."""


class LeaseLost(AccountMonitorError):
    """This process may not write of the account any more; the text names the account and its epoch."""


class ChannelFailed(AccountMonitorError):
    """A channel to people did not take what it was given; the text says why, without the secrets of its URL."""


class CommandFailed(AccountMonitorError):
    """A command could not do what it was asked; the text says why."""
