"""The e-mail: composing, rendering, and handing over to Resend. Implements `reminders.domain.ports`."""
