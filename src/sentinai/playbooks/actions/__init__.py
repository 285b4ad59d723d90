"""Actions: one module for each kind of thing a playbook step can do."""
