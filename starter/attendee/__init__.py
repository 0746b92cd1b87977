"""What attendees open from their e-mails: stop page and calendar file, with texts and languages."""
