"""Whether the service of this container is well: exits 0 unless /health says unhealthy, or nothing answers.

The port is that of the metrics, where health is plain HTTP and asks for no token: ACCOUNT_MONITOR__METRICS__PORT, or
9093. A configuration file that says otherwise has to be followed there.
"""

import http.client
import os
import sys

SECONDS = 4


def main() -> str | None:
    """Return what is wrong, None where nothing is."""
    port = os.environ.get("ACCOUNT_MONITOR__METRICS__PORT", "9093")
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=SECONDS)
        connection.request("GET", "/health")
        answer = connection.getresponse()
        text = answer.read(4096).decode("utf-8", "replace")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"http://127.0.0.1:{port}/health does not answer: {error}"
    return None if answer.status == 200 else f"/health answers {answer.status}: {text}"


if __name__ == "__main__":
    sys.exit(main())
