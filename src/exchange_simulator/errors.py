"""Errors: with which code and words does the venue refuse?"""

from __future__ import annotations


class VenueError(Exception):
    """A refusal as the venue words it: `code` (negative) and `message` go into the body, `status` is HTTP's."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


_TEXTS = {
    -1013: "Invalid quantity.",
    -1023: "Start time is greater than end time.",
    -1106: "Parameter '{0}' sent when not required.",
    -1102: "Mandatory parameter '{0}' was not sent, was empty/null, or malformed.",
    -1111: "Precision is over the maximum defined for this asset.",
    -1115: "Invalid timeInForce.",
    -1116: "Invalid orderType.",
    -1117: "Invalid side.",
    -1121: "Invalid symbol.",
    -1127: "Lookup interval is too big.",
    -1128: "Combination of optional parameters invalid.",
    -1130: "Invalid data sent for a parameter.",
    -2010: "NEW_ORDER_REJECTED",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2019: "Margin is insufficient.",
    -2021: "Order would immediately trigger.",
    -2022: "ReduceOnly Order is rejected.",
    -2025: "Reach max open order limit.",
    -2027: "Exceeded the maximum allowable position at current leverage.",
    -2028: "Leverage is smaller than permitted: insufficient margin balance.",
    -4001: "Price less than 0.",
    -4002: "Price greater than max price.",
    -4003: "Quantity less than or equal to zero.",
    -4004: "Quantity less than min quantity.",
    -4005: "Quantity greater than max quantity.",
    -4006: "Stop price less than or equal to zero.",
    -4013: "Price less than min price.",
    -4014: "Price not increased by tick size.",
    -4015: "Client order id length should be less than 36 chars",
    -4016: "Price is higher than mark price multiplier cap.",
    -4023: "Qty not increased by step size.",
    -4024: "Price is lower than mark price multiplier floor.",
    -4028: "Leverage {0} is not valid",
    -4040: "The goodTillDate timestamp must be greater than the current time plus 600 seconds and smaller than "
    "253402300799000.",
    -4045: "Reach max stop order limit.",
    -4046: "No need to change margin type.",
    -4047: "Margin type cannot be changed if there exists open orders.",
    -4048: "Margin type cannot be changed if there exists position.",
    -4050: "Cross balance insufficient.",
    -4051: "Isolated balance insufficient.",
    -4054: "Cannot add position margin: position is 0.",
    -4056: "Invalid margin type",
    -4059: "No need to change position side.",
    -4060: "Invalid position side.",
    -4061: "Order's position side does not match user's setting.",
    -4062: "Invalid or improper reduceOnly value.",
    -4067: "Position side cannot be changed if there exists open orders.",
    -4068: "Position side cannot be changed if there exists position.",
    -4104: "The symbol cannot be traded in this mode.",
    -4111: "Invalid algo order.",
    -4116: "ClientOrderId is duplicated.",
    -4120: "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
    -4140: "Invalid symbol status for opening position.",
    -4161: "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
    -4164: "Order's notional must be no smaller than {0} (unless you choose reduce only).",
    -4167: "Unable to adjust to Multi-Assets mode with symbols of USDⓈ-M Futures under isolated-margin mode.",
    -4168: "Unable to adjust to isolated-margin mode under the Multi-Assets mode.",
    -4171: "No need to change multi-assets margin mode.",
    -5022: "Due to the order could not be executed as maker, the Post Only order will be rejected.",
    -5026: "Exceed maximum modify order limit.",
    -5027: "No need to modify the order.",
    -5013: "Asset transfer fail: insufficient balance",
}


def refusal(code: int, *details: object) -> VenueError:
    """Return the error of that code with the venue's own text."""
    return VenueError(code, _TEXTS[code].format(*details))
