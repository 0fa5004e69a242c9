"""An error that the caller of this backend is told."""


class Problem(Exception):
    """A status, a code for programs, a text for people, and after how many seconds the caller may try again."""

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after
