"""Fixes: playbooks, policy, sandboxes, approval, rollback and audit; proposes and proves, never surprises."""
