"""Letters over SMTP: `smtp://user:password@host:587` (STARTTLS where offered) or `smtps://…:465`."""

from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from urllib.parse import unquote, urlsplit

import aiosmtplib

from backend.log import get_logger
from backend.mail.letter import Letter, MailError

log = get_logger(__name__)

TIMEOUT_S = 15


class SmtpMailer:
    """One connection a letter."""

    def __init__(self, url: str, *, sender: str) -> None:
        """Both as the settings have checked them."""
        parts = urlsplit(url)
        name, address = parseaddr(sender)
        self._sender = Address(display_name=name, addr_spec=address)
        self._host = parts.hostname or ""
        self._port = parts.port or (465 if parts.scheme == "smtps" else 587)
        self._tls = parts.scheme == "smtps"
        self._user = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None

    @property
    def enabled(self) -> bool:
        """Always."""
        return True

    async def send(self, letter: Letter) -> None:
        """Hand a letter to the server. Raises `MailError`."""
        message = EmailMessage()
        message["From"] = self._sender
        message["Subject"] = letter.subject
        message["Date"] = formatdate(localtime=False)
        message["Message-ID"] = make_msgid(domain=self._sender.domain or "zoetrope")
        message["Auto-Submitted"] = "auto-generated"
        try:
            message["To"] = letter.to
            message.set_content(letter.text)
            await aiosmtplib.send(
                message,
                hostname=self._host,
                port=self._port,
                use_tls=self._tls,
                username=self._user,
                password=self._password,
                timeout=TIMEOUT_S,
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            log.warning("mail.failed", error=type(error).__name__)
            raise MailError(f"the mail server did not take the letter ({type(error).__name__})") from error
        log.info("mail.sent", subject=letter.subject)
