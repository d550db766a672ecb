"""REST: views as JSON, described as OpenAPI. Every handler takes a view and reports it."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, cast

import msgspec
import structlog
from litestar import Litestar, MediaType, Request, Response, get
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import QueryParameter, SkipValidation
from litestar.response import Redirect
from litestar.serialization import decode_json

from account_monitor.api import problems
from account_monitor.api.access import Caller
from account_monitor.api.accounts import monitor_meant, never_held
from account_monitor.api.alerts import HANDLERS as ALERT_HANDLERS
from account_monitor.api.alerts import REPORTS as ALERT_REPORTS
from account_monitor.api.answering import (
    BY_FRAMEWORK,
    EVERYWHERE,
    OF_ACCOUNT,
    OF_ALL,
    GivenCaller,
    GivenDesk,
    GivenMonitor,
    explained,
    in_turn,
)
from account_monitor.api.asgi import Application, Headers, Reply, Scope
from account_monitor.api.cluster import HANDLERS as CLUSTER_HANDLERS
from account_monitor.api.cluster import REPORTS as CLUSTER_REPORTS
from account_monitor.api.credentials import caller_of
from account_monitor.api.exchange import HANDLERS as EXCHANGE_HANDLERS
from account_monitor.api.exchange import REPORTS as EXCHANGE_REPORTS
from account_monitor.api.guard import MAX_BODY_BYTES
from account_monitor.api.health import CheckReport, HealthReport, LiveReport, ReadyReport, health_report, ready_report
from account_monitor.api.history import HANDLERS as HISTORY_HANDLERS
from account_monitor.api.history import OF_FILLS
from account_monitor.api.history import REPORTS as HISTORY_REPORTS
from account_monitor.api.moments import moment_given
from account_monitor.api.problems import Problem, Refused, bad_parameter
from account_monitor.api.reconciliation import HANDLERS as RECONCILIATION_HANDLERS
from account_monitor.api.reconciliation import REPORTS as RECONCILIATION_REPORTS
from account_monitor.api.reference import Page, describe, reference_page
from account_monitor.api.renderer import Renderer
from account_monitor.api.rendering import PLAIN, Present, Renderings, whole
from account_monitor.api.sight import desk_seen_by
from account_monitor.api.whatif import HANDLERS as WHATIF_HANDLERS
from account_monitor.api.whatif import REPORTS as WHATIF_REPORTS
from account_monitor.errors import HistoryUnavailable
from account_monitor.monitor.desk import Desk
from account_monitor.monitor.fills import read_fills
from account_monitor.monitor.monitor import Monitor
from account_monitor.monitor.past import BeforeOpening, TooOld
from account_monitor.monitor.ports import FillQuery
from account_monitor.monitor.reports import (
    AccountReport,
    BalanceReport,
    CausesReport,
    EffectReport,
    ExplanationReport,
    FillReport,
    PartReport,
    PnLReport,
    PoolReport,
    PositionReport,
    RiskReport,
    VenueReport,
    account_report,
    balances_report,
    explanation_report,
    fill_report,
    held_report,
    pnl_report,
    time_text,
)
from account_monitor.monitor.views import View

UNCHANGED = "It is still the one whose `ETag` is in `If-None-Match`; only where no parameter but `account` is given"

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

GivenRenderings = NamedDependency[SkipValidation[Renderings]]
GivenPage = NamedDependency[SkipValidation[Page]]
Account = Annotated[
    str | None, QueryParameter(description="Name of the account; may be left out where only one is configured.")
]
AnyRequest = Request[Any, Any, Any]


class AccountSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A configured account. What is null is not known while the journal is being folded, or another process holds the
    account: `member`, which is only there then, names it. `may_operate` is only there for a token that may read alone.
    """

    account: str
    status: Literal["ready", "folding", "recording_stopped", "held_elsewhere"]
    member: str | None = None
    equity: str | None
    epoch: int | None
    seq: int | None
    as_of: str | None
    may_operate: bool = True


class FillsReport(msgspec.Struct, frozen=True, kw_only=True):
    """A page of fills in venue order; `next` is the cursor of the next page, null at the end."""

    fills: list[FillReport]
    next: str | None


# -- what is asked -----------------------------------------------------------------------------------------------------


OF_SYMBOL = explained(
    *EVERYWHERE,
    *BY_FRAMEWORK,
    problems.UNKNOWN_ACCOUNT,
    problems.UNKNOWN_SYMBOL,
    problems.FOLDING,
    problems.HELD_ELSEWHERE,
    problems.BUSY,
)
OF_HEALTH = {
    503: ResponseSpec(HealthReport, generate_examples=False, description="The service is unhealthy"),
    **explained(*EVERYWHERE, problems.BAD_PARAMETER, problems.BAD_REQUEST),
}
OF_READINESS = {
    503: ResponseSpec(ReadyReport, generate_examples=False, description="Not ready, and why"),
    **explained(*EVERYWHERE, problems.BAD_PARAMETER, problems.BAD_REQUEST),
}
OF_LIFE = explained(*EVERYWHERE, problems.BAD_PARAMETER, problems.BAD_REQUEST)


@get("/health", operation_id="health", summary="How well the service is", responses=OF_HEALTH)
async def health(desk: GivenDesk, caller: GivenCaller) -> HealthReport:
    """The worst of all checks; also on the metrics port. Without a token, names and states alone, and the checks
    of accounts as one. Answered by the front, described here.
    """
    return health_report(desk, caller)


@get("/live", operation_id="live", summary="Whether the process answers", responses=OF_LIFE)
async def live() -> LiveReport:
    """Also on the metrics port: for what restarts a process that hangs. Answered by the front, described here."""
    return LiveReport(live=True)


@get("/ready", operation_id="ready", summary="Whether the service may be relied on", responses=OF_READINESS)
async def ready(desk: GivenDesk, caller: GivenCaller) -> ReadyReport:
    """Ready once every journal is folded and the inputs have caught up; also on the metrics port."""
    return ready_report(desk, caller)


@get("/api/accounts", operation_id="accounts", summary="The configured accounts", responses=OF_ALL)
async def accounts(desk: GivenDesk, caller: GivenCaller) -> list[AccountSummary]:
    """Each with status and equity in USD."""
    return [_summary(desk, account, may_operate=caller.right == "operate") for account in desk.accounts]


@get("/api/account", operation_id="account", summary="The whole account", responses=OF_ACCOUNT)
async def account(
    desk: GivenDesk,
    monitor: GivenMonitor,
    renderings: GivenRenderings,
    at: Annotated[
        str | None,
        QueryParameter(schema_extra={"format": "date-time"}, description="As it was believed at this time."),
    ] = None,
    corrected: Annotated[bool, QueryParameter(description="With `at`: as is known now, late fills included.")] = False,
) -> AccountReport:
    """P&L, balances, positions and risk as of one journal sequence; in the past, at the prices that were journaled."""
    moment = moment_given("at", at)
    if moment is None:
        if corrected:
            raise bad_parameter("corrected", "was true, and needs `at`: the present is corrected always")
        return cast(AccountReport, await _present(desk, monitor, renderings, "account"))
    look = monitor.past.known if corrected else monitor.past.believed
    try:
        report = await _looked_back(desk, lambda: msgspec.json.encode(account_report(look(moment), moment)))
    except BeforeOpening as error:
        opened = f"was {at!r}, before {time_text(error.opened_ms)}, when the account was opened: nobody knows"
        raise bad_parameter("at", opened) from None
    except TooOld as error:
        raise _too_old("at", at, error) from None
    return cast(AccountReport, _written(report))


@get("/api/positions", operation_id="positions", summary="Positions by key", responses=OF_SYMBOL)
async def positions(
    desk: GivenDesk,
    monitor: GivenMonitor,
    renderings: GivenRenderings,
    symbol: Annotated[str | None, QueryParameter(description="A position key: only this position.")] = None,
) -> dict[str, PositionReport]:
    """A position once held stays listed as FLAT."""
    if symbol is None:
        return cast(dict[str, PositionReport], await _present(desk, monitor, renderings, "positions"))
    view = monitor.view
    if symbol not in view.positions:
        raise never_held(view.account, symbol)
    return {symbol: held_report(view.held(symbol))}


@get("/api/pnl", operation_id="pnl", summary="Results of the account", responses=OF_ACCOUNT)
async def pnl(monitor: GivenMonitor) -> PnLReport:
    """Profit and loss since the first event, in USD, and the statistics of round trips."""
    return pnl_report(monitor.view)


@get("/api/balance", operation_id="balance", summary="Wallets by asset", responses=OF_ACCOUNT)
async def balance(monitor: GivenMonitor) -> dict[str, BalanceReport]:
    """What the wallets hold; null where nobody said what they held at first."""
    return balances_report(monitor.view)


@get("/api/fills", operation_id="fills", summary="Recorded fills", responses=OF_FILLS)
async def fills(
    desk: GivenDesk,
    monitor: GivenMonitor,
    symbol: Annotated[str | None, QueryParameter(description="Only fills of this symbol.")] = None,
    from_: Annotated[
        str | None,
        QueryParameter(
            name="from", schema_extra={"format": "date-time"}, description="Earliest venue time, inclusive."
        ),
    ] = None,
    to: Annotated[
        str | None, QueryParameter(schema_extra={"format": "date-time"}, description="Latest venue time, exclusive.")
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=1000, description="Fills per page.")] = 100,
    cursor: Annotated[str | None, QueryParameter(description="`next` of the page before.")] = None,
) -> FillsReport:
    """In venue order, all that were ever recorded; the oldest are read from the history."""
    query = FillQuery(symbol, moment_given("from", from_), moment_given("to", to), cursor, limit)
    try:
        page = await read_fills(monitor.journal, desk.history, query)
    except HistoryUnavailable as error:
        raise Refused(problems.HISTORY_UNAVAILABLE, str(error)) from None
    except ValueError as error:
        raise bad_parameter("cursor", f"{error}; expected `next` of a page before") from None
    if symbol is not None and not page.entries and cursor is None and not _was_held(monitor.view, symbol):
        raise never_held(monitor.name, symbol)
    return FillsReport(fills=[fill_report(monitor.name, entry) for entry in page.entries], next=page.next)


@get("/api/explain", operation_id="explain", summary="Why equity changed", responses=OF_SYMBOL)
async def explain(
    desk: GivenDesk,
    monitor: GivenMonitor,
    symbol: Annotated[str | None, QueryParameter(description="Only what a symbol or position did.")] = None,
    from_: Annotated[
        str | None,
        QueryParameter(name="from", schema_extra={"format": "date-time"}, description="Default: the beginning."),
    ] = None,
    to: Annotated[str | None, QueryParameter(schema_extra={"format": "date-time"}, description="Default: now.")] = None,
    limit: Annotated[int, QueryParameter(ge=0, le=1000, description="Entries to name, the youngest.")] = 100,
) -> ExplanationReport:
    """Every cause of the change between what was believed at two times, and the entries behind it."""
    from_ms, to_ms = moment_given("from", from_), moment_given("to", to)
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise bad_parameter("to", f"was {to!r}, expected a time that is not before `from`")
    if symbol is not None and not _was_held(monitor.view, symbol.partition(":")[0]):
        raise never_held(monitor.name, symbol)
    try:
        span = await _looked_back(desk, monitor.past.explain, from_ms, to_ms, symbol=symbol, limit=limit)
    except TooOld as error:
        raise _too_old("to" if from_ is None else "from", to if from_ is None else from_, error) from None
    return explanation_report(span, from_ms=from_ms, to_ms=to_ms, symbol=symbol)


@get("/openapi.json", include_in_schema=False, media_type="application/json")
async def openapi(page: GivenPage) -> bytes:
    """The description of everything above."""
    return page.description


@get("/docs", include_in_schema=False, media_type=MediaType.HTML)
async def docs(page: GivenPage) -> Response[bytes]:
    """The same, for people."""
    return Response(page.html, headers={"content-security-policy": page.policy})


@get("/", include_in_schema=False)
async def root() -> Redirect:
    """The way to the documentation."""
    return Redirect("/docs")


_DESCRIBED = [
    health, live, ready, accounts, account, positions, pnl, *HISTORY_HANDLERS, balance, fills, *ALERT_HANDLERS, explain,
    *WHATIF_HANDLERS, *RECONCILIATION_HANDLERS, *EXCHANGE_HANDLERS, *CLUSTER_HANDLERS,
]  # fmt: skip

_REPORTS: tuple[type[msgspec.Struct], ...] = (
    AccountReport, AccountSummary, BalanceReport, CausesReport, CheckReport, EffectReport,
    ExplanationReport, FillReport, FillsReport, HealthReport, LiveReport, PartReport, PnLReport, PoolReport,
    PositionReport, Problem, ReadyReport, RiskReport, VenueReport, *ALERT_REPORTS, *HISTORY_REPORTS,
    *RECONCILIATION_REPORTS, *WHATIF_REPORTS, *EXCHANGE_REPORTS, *CLUSTER_REPORTS,
)  # fmt: skip


def _meanings() -> dict[str, str]:
    """Return what each report is, in the words of JSON."""
    return {report.__name__: inspect.cleandoc(report.__doc__ or "").replace("None", "null") for report in _REPORTS}


# -- how it is found ---------------------------------------------------------------------------------------------------


async def _present(desk: Desk, monitor: Monitor, renderings: Renderings, kind: str) -> Response[bytes]:
    """Return the present as it is rendered for all, however the question for it is written."""
    return _written(whole(await renderings.of(monitor, kind), kind, desk.clock()))


def _written(body: bytes) -> Response[bytes]:
    """Return a report that was written in a thread; the framework would write it on the event loop."""
    return Response(body, media_type=MediaType.JSON)


async def _looked_back(desk: Desk, look: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Return what a look into the past finds, in a thread and in turn. Raises: Refused where too many wait."""
    async with in_turn(desk.looking_back):
        return await asyncio.to_thread(look, *arguments, **named)


def _too_old(name: str, text: str | None, error: TooOld) -> Refused:
    first = "now" if error.first_ms is None else time_text(error.first_ms)
    return bad_parameter(name, f"was {text!r}, expected a time from {first} on: what is older is in the history only")


def _summary(desk: Desk, account: str, *, may_operate: bool) -> AccountSummary:
    monitor = desk.monitor(account)
    if monitor is None:
        holder = None if desk.cluster is None else desk.cluster.elsewhere(account)
        return AccountSummary(
            account=account,
            status="folding" if holder is None else "held_elsewhere",
            member=None if holder is None else holder.member,
            equity=None, epoch=None, seq=None, as_of=None, may_operate=may_operate,
        )  # fmt: skip
    view = monitor.view
    return AccountSummary(
        account=account,
        status=monitor.status,
        equity=pnl_report(view).equity,
        epoch=view.epoch,
        seq=view.seq,
        as_of=time_text(view.as_of_ms) if view.as_of_ms else None,
        may_operate=may_operate,
    )


def _was_held(view: View, symbol: str) -> bool:
    return any(position.symbol == symbol for position in view.positions.values())


# -- how it is refused -------------------------------------------------------------------------------------------------


def _respond(refusal: Refused, request: AnyRequest) -> Response[bytes]:
    reply: Reply = refusal.reply(request.url.path)
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, status_code=reply.status, media_type=reply.media_type, headers=headers)


def _refuse(request: AnyRequest, error: Refused) -> Response[bytes]:
    return _respond(error, request)


def _refuse_value(request: AnyRequest, error: ValidationException) -> Response[bytes]:
    extra = error.extra if isinstance(error.extra, list) else []
    if any(each.get("source") == "body" or "source" not in each for each in extra) and request.method != "GET":
        wrong = "; ".join(_wrong_in_body(each) for each in extra)
        return _respond(Refused(problems.BAD_BODY, wrong), request)
    given = request.query_params
    # `state_` and `type_` are what a keyword and a builtin are called here.
    names = [(each["key"].rstrip("_"), each["message"]) for each in extra]
    wrong = "; ".join(f"{name}: was {_cut(given.get(name))!r}. {message}" for name, message in names)
    return _respond(Refused(problems.BAD_PARAMETER, wrong or error.detail), request)


def _wrong_in_body(found: dict[str, str]) -> str:
    key, message = found.get("key", "body"), found["message"]
    is_missing = (key, message) == ("data", "'data'")  # as the framework says it
    return "body: is missing, expected a JSON object" if is_missing else f"{key}: {message}"


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:60]


def _refuse_request(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    what = f"{request.method} {request.url.path}"
    kinds = {kind.status: kind for kind in (problems.NOT_FOUND, problems.METHOD_NOT_ALLOWED, problems.BODY_TOO_LARGE)}
    kind = kinds.get(error.status_code, problems.BAD_REQUEST)
    allowed = (error.headers or {}).get("allow", "").replace("GET", "GET, HEAD")
    headers: Headers = ((b"allow", allowed.encode()),) if allowed else ()
    return _respond(Refused(kind, f"{what}: {error.detail}", headers=headers), request)


def _refuse_text(request: AnyRequest, error: UnicodeDecodeError) -> Response[bytes]:
    """Refuse a body that is no UTF-8; what the framework decodes is nothing else."""
    return _respond(Refused(problems.BAD_BODY, f"body: expected UTF-8, {error.reason} at byte {error.start}"), request)


def _refuse_depth(request: AnyRequest, error: RecursionError) -> Response[bytes]:
    """Refuse a body that is nested too deeply to be decoded; anywhere else it is a defect."""
    if traceback.extract_tb(error.__traceback__)[-1].name != decode_json.__name__:
        return _refuse_defect(request, error)
    return _respond(Refused(problems.BAD_BODY, "body: is nested too deeply, expected an object of fields"), request)


def _refuse_defect(request: AnyRequest, error: Exception) -> Response[bytes]:
    log.error("request_failed", path=request.url.path, exc_info=error)
    return _respond(Refused(problems.INTERNAL, "see the log of the service"), request)


class _KnownParameters:
    """Refuses a query that names what its address does not know: a misspelt filter must not look like no filter."""

    def __init__(self, by_path: dict[str, list[str]]) -> None:
        self._by_path = by_path

    def __call__(self, request: AnyRequest) -> None:
        known = self._by_path.get(request.scope.get("path_template", request.url.path), [])
        given = [name for name, _ in request.query_params.multi_items()]
        for name in given:
            if name not in known:
                raise bad_parameter(name[:60], f"unknown here; known: {', '.join(known) or 'none'}")
            if given.count(name) > 1:
                raise bad_parameter(name[:60], "was given more than once")


# -- together ----------------------------------------------------------------------------------------------------------


def rest_application(desk: Desk, renderer: Renderer) -> Application:
    """Return the application that answers everything but health and sockets."""
    renderings = Renderings(desk.started_ms, renderer)
    description = openapi_document(desk, renderings)
    page = reference_page(description)
    known = {
        path: [parameter["name"] for operation in operations.values() for parameter in operation.get("parameters", ())]
        for path, operations in description["paths"].items()
    }
    framework = Litestar(
        [*_DESCRIBED, openapi, docs, root],
        dependencies={
            **_given(desk, renderings),
            "page": Provide(lambda: page, sync_to_thread=False),
        },
        before_request=_KnownParameters(known),
        exception_handlers={
            Refused: _refuse,
            ValidationException: _refuse_value,
            HTTPException: _refuse_request,
            UnicodeDecodeError: _refuse_text,
            RecursionError: _refuse_depth,
            Exception: _refuse_defect,
        },
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_BODY_BYTES,  # also where nobody says how long it is
    )
    return Present(desk, cast(Application, framework), renderings)


def openapi_document(desk: Desk, renderings: Renderings) -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of everything that is answered, as `/openapi.json` shows it."""
    document = describe(_schema(desk, renderings), _meanings())
    for path in PLAIN:
        document["paths"][path]["get"]["responses"]["304"] = {"description": UNCHANGED}
    return document


def _schema(desk: Desk, renderings: Renderings) -> dict[str, Any]:
    """Return what the framework can say of the handlers.

    Asked of an application that never serves: one that describes itself also serves pages that load scripts from
    elsewhere.
    """
    config = OpenAPIConfig(
        title="account-monitor", version=desk.version, use_handler_docstrings=True, render_plugins=[JsonRenderPlugin()]
    )
    application = Litestar(
        _DESCRIBED, dependencies=_given(desk, renderings), openapi_config=config, logging_config=None
    )
    return application.openapi_schema.to_schema()


def _given(desk: Desk, renderings: Renderings) -> dict[str, Provide]:
    """Return what handlers are given by name."""

    def given_caller(request: AnyRequest) -> Caller:
        return caller_of(cast(Scope, request.scope))

    def given_desk(request: AnyRequest) -> Desk:
        return desk_seen_by(given_caller(request), desk)

    def given_monitor(request: AnyRequest, account: Account = None) -> Monitor:
        return monitor_meant(given_desk(request), account)

    return {
        "caller": Provide(given_caller, sync_to_thread=False),
        "desk": Provide(given_desk, sync_to_thread=False),
        "monitor": Provide(given_monitor, sync_to_thread=False),
        "renderings": Provide(lambda: renderings, sync_to_thread=False),
    }
