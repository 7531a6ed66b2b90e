"""The playbooks there are, in the order in which equally good fixes are offered: undoing comes before adding."""

from __future__ import annotations

from autofix.playbooks.cordon_node import CordonNode
from autofix.playbooks.raise_memory_limit import RaiseMemoryLimit
from autofix.playbooks.restart_stuck_workload import RestartStuckWorkload
from autofix.playbooks.restore_configmap import RestoreConfigMap
from autofix.playbooks.rollback_deployment import RollbackDeployment
from autofix.playbooks.scale_out import ScaleOut
from autofix.situation import Playbook
from engine.errors import ConfigError

PLAYBOOKS: tuple[Playbook, ...] = (
    RollbackDeployment(),
    RestoreConfigMap(),
    RaiseMemoryLimit(),
    CordonNode(),
    ScaleOut(),
    RestartStuckWorkload(),
)


def playbook(name: str) -> Playbook:
    """Return a playbook by name; raise ConfigError naming the known ones."""
    for one in PLAYBOOKS:
        if one.name == name:
            return one
    raise ConfigError(f"no playbook '{name}'; there are {', '.join(one.name for one in PLAYBOOKS)}")
