"""The probe: a closed test call that finds out how a platform behaves, for the capability profile.

It makes a call of its own in a department that is named as one for tests: a customer by an access link, an
attendant and a supervisor, each with a tone. Nothing is recorded: of what is heard, levels alone are kept.
"""
