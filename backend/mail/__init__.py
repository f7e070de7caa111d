"""Letters: one port, SMTP or nothing behind it."""

from backend.mail.letter import Letter, Mailer, MailError
from backend.mail.null import NullMailer
from backend.mail.smtp import SmtpMailer
from backend.settings import Settings

__all__ = ["Letter", "MailError", "Mailer", "NullMailer", "SmtpMailer", "open_mailer"]


def open_mailer(settings: Settings) -> Mailer:
    """SMTP when `ZOETROPE_SMTP_URL` is set, else none."""
    if settings.smtp_url is None:
        return NullMailer()
    return SmtpMailer(settings.smtp_url, sender=settings.mail_from)
