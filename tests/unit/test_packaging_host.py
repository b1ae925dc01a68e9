"""A module on a GPU is packaged from a copy in this machine's memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from jupyter_aiinfra.promote.packaging.forms import on_host, on_processor


class OnCuda(nn.Parameter):
    """What says that it is on a GPU, where there is none."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("cuda:0")


def elsewhere() -> Any:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    net[2].weight = net[0].weight
    net[0].bias.requires_grad_(False)
    net[0].weight.__class__ = OnCuda
    return net


def test_a_module_that_is_here_is_itself() -> None:
    net = nn.Linear(2, 2)
    assert on_host(net) is net


def test_a_copy_has_all_that_the_module_has() -> None:
    net = elsewhere()
    here = on_host(net)
    assert here is not net
    assert {each.device.type for each in here.parameters()} == {"cpu"}
    assert type(here[0].weight) is nn.Parameter
    assert here[2].weight is here[0].weight, "what was shared is shared"
    assert not here[0].bias.requires_grad
    assert here.training
    assert torch.equal(here.state_dict()["1.running_var"], net.state_dict()["1.running_var"])
    assert torch.equal(here[0].weight, net[2].weight.detach().cpu())
    here[0].bias.data += 1
    assert not torch.equal(here[0].bias, net[0].bias), "a copy is nobody else's"


def test_the_module_stays_as_it_is_while_its_copy_is_evaluated() -> None:
    net = elsewhere()
    with on_processor(net) as here:
        assert here is not net
        assert not here.training
        assert net.training
