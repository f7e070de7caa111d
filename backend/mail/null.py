"""No SMTP server was named: letters are not sent, and nobody waits for them."""

from backend.log import get_logger
from backend.mail.letter import Letter

log = get_logger(__name__)


class NullMailer:
    """Drops letters, with a log line."""

    @property
    def enabled(self) -> bool:
        """Never."""
        return False

    async def send(self, letter: Letter) -> None:
        """Only says that it was asked."""
        log.debug("mail.not_sent", subject=letter.subject)
