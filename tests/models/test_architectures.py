"""What the registry says of an architecture is what its builder takes."""

import inspect
import subprocess
import sys

import pytest

from dr_keras.models import alexnets, efficientnet, lesion_nets, nets
from dr_keras.models.architectures import ARCHITECTURES

BUILDERS = {
    name: getattr(module, name)
    for module, names in {
        nets: ("net5", "net4", "ram_net5"),
        efficientnet: ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"),
        alexnets: ("alexnet", "caffenet", "alexnet_torchvision"),
        lesion_nets: ("lesion_net", "lesion_efficientnet"),
    }.items()
    for name in names
}
HEADS = {nets: nets.HEADS, efficientnet: efficientnet.HEADS, alexnets: alexnets.HEADS}


def test_every_builder_is_registered():
    assert set(ARCHITECTURES) == set(BUILDERS)


@pytest.mark.parametrize("name", BUILDERS)
def test_options_and_heads_are_the_builders(name):
    known, builder = ARCHITECTURES[name], BUILDERS[name]
    others = {"image_size", "seed", "name", "variant", "widths"}
    parameters = set(inspect.signature(builder).parameters) - others
    assert set(known.options) == parameters - {"head"}
    without = ("lesions",) if name.startswith("lesion_") else ("gap",)
    heads = HEADS[inspect.getmodule(builder)] if "head" in parameters else without
    assert known.heads == heads


@pytest.mark.parametrize("name", BUILDERS)
def test_the_smallest_size_builds(name):
    network = ARCHITECTURES[name].build(ARCHITECTURES[name].image_sizes[0], seed=3)
    assert network.name == name and network.output_shape == (None, 1)


@pytest.mark.parametrize("name", ["net5", "efficientnet_lite0", "alexnet"])
def test_a_head_that_is_not_listed_is_refused_by_the_builder(name):
    size = ARCHITECTURES[name].image_sizes[0]
    for head in {"gap", "dense", "multiscale", "regression", "classification"} - {*ARCHITECTURES[name].heads}:
        with pytest.raises(ValueError, match="`head` must be one of"):
            ARCHITECTURES[name].build(size, head=head)


def test_the_papers_nets_have_the_papers_sizes():
    assert ARCHITECTURES["net5"].image_sizes == ARCHITECTURES["net4"].image_sizes == tuple(nets.WINDOWS)
    with pytest.raises(ValueError, match="`image_size` must be 128 or 256"):
        ARCHITECTURES["ram_net5"].build(512)


def test_published_weights_say_what_they_expect():
    variants = {"alexnet": "caffe", "caffenet": "caffenet", "alexnet_torchvision": "torchvision"}
    for name, variant in variants.items():
        published, form = ARCHITECTURES[name].published, alexnets.VARIANTS[variant]
        assert (published.mean, published.sd) == (form.mean, form.sd)
    assert ARCHITECTURES["net5"].published is None


def test_the_registry_loads_no_framework():
    code = "import sys, dr_keras.models.architectures; print({'keras', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
