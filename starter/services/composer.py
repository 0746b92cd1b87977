"""The composer that the settings describe: the worker sends with it, previews show what it makes."""

from __future__ import annotations

from reminders.mail.addressing import DeliveryMode
from reminders.mail.branding import Branding
from reminders.mail.compose import MailComposer
from reminders.mail.links import LinkMaker, SignedLinks
from reminders.mail.render import MailRenderer
from reminders.settings import Settings
from reminders.tokens import Tokens


def mail_composer(
    settings: Settings, *, links: LinkMaker | None = None, stays_here: bool = False
) -> MailComposer:
    """The one composer of a process: compiles the templates, so it is made once.

    Args:
        settings: Of this process.
        links: Makes calendar and stop links; absent where there is no public address.
        stays_here: As `MailComposer` has it.

    Raises:
        ConfigurationError: If sender, brand, templates or translations cannot be used.
    """
    sender, test_recipient = settings.require_envelope()
    return MailComposer(
        sender=sender,
        reply_to=settings.email_reply_to,
        mode=DeliveryMode(settings.delivery_mode),
        test_recipient=test_recipient,
        renderer=MailRenderer(
            brand=branding(settings),
            default_locale=settings.email_locale,
            templates=settings.email_templates_dir,
            links=links,
        ),
        stays_here=stays_here,
    )


def branding(settings: Settings) -> Branding:
    """Whose e-mails and pages these are.

    Raises:
        ConfigurationError: If something of it could not be shown.
    """
    return Branding(
        product_name=settings.email_product_name or "",
        logo_url=settings.email_logo_url or "",
        postal_address=settings.email_postal_address or "",
        colour=settings.email_color,
    )


def attendee_links(settings: Settings) -> LinkMaker | None:
    """Makes the links of e-mails; `None` while `PUBLIC_BASE_URL` and `TOKEN_SECRET` are not set."""
    if settings.public_base_url is None:
        return None
    secrets = [secret.get_secret_value() for secret in settings.token_secret]
    return SignedLinks(settings.public_base_url, Tokens(secrets))
