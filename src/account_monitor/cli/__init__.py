"""The commands. Each lives in a file of its own, which is imported only when it is asked for."""

from __future__ import annotations

import importlib
import os
import sys

import click

from account_monitor import __version__
from account_monitor.errors import AccountMonitorError, ConfigurationError
from account_monitor.failures import reason

_COMMANDS = {
    "run": ("service", "run", "Run the service."),
    "demo": ("demo", "demo", "Show it: a simulated exchange, a bot that trades, connections that fail."),
    "simulate": ("simulate", "simulate", "Run only the simulated exchange."),
    "check-config": ("service", "check_config", "Validate the configuration."),
    "doctor": ("doctor", "doctor", "Try every connection, the exchange's clock and what the API keys may do."),
    "token": ("token", "token", "Make, list and revoke the tokens that the service asks for."),
    "alerts": ("alerts", "alerts", "Send a test through every channel that people are told on."),
    "migrate": (
        "migrate",
        "migrate",
        "Bring the database of the history up to date; the service does so when it starts.",
    ),
    "status": ("status", "status", "Show balances, positions and P&L of a running service."),
    "replay": ("replay", "replay", "Fold a journal and print the state; --verify checks its hash chain."),
    "explain": ("explain", "explain", "Say which causes and journal entries changed equity."),
    "whatif": ("whatif", "whatif", "Show equity, margins and liquidations of a running service under price moves."),
    "export": ("export", "export", "Write fills, P&L or alerts to a CSV or Parquet file."),
    "report": ("report", "report", "Write what a span of time has brought to one HTML file."),
    "dead-letters": ("dead_letters", "dead_letters", "List, show and retry parked messages."),
    "backup": ("backup", "backup", "Copy every journal into one file, while the service runs."),
    "restore": ("backup", "restore", "Put the journals of a backup into an empty data directory."),
}


class _Commands(click.Group):
    """A group that knows its commands by name and imports them when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"account_monitor.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="account-monitor")
def commands() -> None:
    """Know the true state of trading accounts, and prove it."""


def run(arguments: list[str]) -> int:
    """Run a command and return the exit code: an error is one clear line on stderr, never a traceback."""
    try:
        finished = commands.main(arguments, prog_name="account-monitor", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.UsageError as error:
        return _fail(error.format_message(), 2)
    except click.Abort:
        return 130
    except click.ClickException as error:
        return _fail(error.format_message(), 1)
    except ConfigurationError as error:
        return _fail(str(error), 2)
    except AccountMonitorError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        return 0
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else reason(error), 1)
    return finished if isinstance(finished, int) else 0  # click gives back the code of an early exit


def _fail(message: str, code: int) -> int:
    from account_monitor.config.secrets import escaped

    line = escaped(" ".join(message.split()))  # some of it is what a service said, or a file is called
    click.echo(f"account-monitor: {line}", err=True)
    return code
