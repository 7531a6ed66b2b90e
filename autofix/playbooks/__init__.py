"""The playbooks, one remedy a file; `autofix.registry` lists them."""
