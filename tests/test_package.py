"""The package's shape: who imports whom, and that flags and recipes belong to something."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dr_keras import cli_flags
from dr_keras.data import layouts, normalization

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "data", "models", "training", "explain", "inference", "evaluation", "report", "export", "dicom",
    "serving", "beam", "papers",
)  # fmt: skip
LEAVES = ("counts", "errors", "files", "grades", "lesion_kinds", "metrics", "registration", "shipped")
MODULES = sorted((ROOT / "dr_keras").rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").glob("[a-z]*.py"))
CONFIGURATION = ROOT / "dr_keras" / "training" / "config.py"
RECIPES = sorted((ROOT / "flags").glob("*.cfg"))
# The only modules of `data` that need Keras or TensorFlow; preparation's workers load none of them.
HEAVY_DATA_MODULES = {"augmentation", "pipeline", "keras_cv_policy"}


def imports(path, top_level_only=False):
    """Dotted names that a file imports, `from x import y` as both x and x.y."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def own_parts(path):
    """Packages and top-level modules of dr_keras that a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("dr_keras.")}


def tops(path):
    """Top-level names of everything that a file imports."""
    return {name.split(".")[0] for name in imports(path)}


def place(path):
    """The package that a module lies in, or the module's own name at the top level."""
    parts = path.relative_to(ROOT / "dr_keras").with_suffix("").parts
    return parts[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_leftwards(package):
    allowed = {*LEAVES, *PACKAGES[: PACKAGES.index(package) + 1], "__version__"}
    for path in MODULES:
        if place(path) == package:
            assert own_parts(path) <= allowed, path


def test_every_module_has_its_place_in_the_order():
    others = {"cli", "cli_flags", "cli_flagfiles", "cli_requirements", "__init__"}
    assert {place(path) for path in MODULES} <= {*PACKAGES, *LEAVES, *others}


def module_of(path):
    """Dotted name of a module's file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_no_modules_import_each_other_in_a_circle():
    known = {module_of(path): path for path in MODULES if path.name != "__init__.py"}
    uses = {name: imports(path) & set(known) - {name} for name, path in known.items()}
    while free := [name for name, used in uses.items() if not used & set(uses)]:
        for name in free:
            del uses[name]
    assert sorted(uses) == []  # what is left imports one another


def test_no_two_modules_have_one_name():
    names = [path.stem for path in MODULES if path.name != "__init__.py"]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_leaves_import_no_package():
    for leaf in LEAVES:
        assert own_parts(ROOT / "dr_keras" / f"{leaf}.py") <= set(LEAVES), leaf
    top_level = imports(ROOT / "dr_keras" / "cli_flags.py", top_level_only=True)
    beside = {"cli_flagfiles", "cli_requirements"}
    assert {name.split(".")[1] for name in top_level if name.startswith("dr_keras.")} <= {*LEAVES, *beside}
    assert own_parts(ROOT / "dr_keras" / "__init__.py") == {"registration"}


def test_what_flags_offer_is_what_the_library_knows():
    assert cli_flags.LAYOUTS == ("auto", "synthetic", *layouts.LAYOUT_NAMES)
    assert cli_flags.NORMALIZATION == normalization.STEPS
    assert cli_flags._CSV_COLUMNS == layouts.own.COLUMNS


def test_only_cli_flags_uses_absl():
    assert [path.name for path in MODULES if "absl" in tops(path)] == ["cli_flags.py"]


def test_tensorflow_stays_out_of_models_and_leaves():
    users = {place(path) for path in MODULES if "tensorflow" in tops(path)}
    assert users <= {"data", "training", "explain", "inference", "export", "serving", "papers"}
    data_users = {
        path.stem for path in MODULES if place(path) == "data" and tops(path) & {"tensorflow", "keras"}
    }
    assert data_users <= HEAVY_DATA_MODULES


def test_global_random_state_is_left_alone():
    pattern = re.compile(
        r"np\.random\.seed|tf\.random\.set_seed|keras\.utils\.set_random_seed|\bhash\(|import random"
    )
    for path in MODULES:
        assert not pattern.search(path.read_text(encoding="utf-8")), path


LIGHT_IMPORTS = """
import importlib, json, sys
heavy = {"tensorflow", "keras", "jax", "torch", "cv2", "numpy", "sklearn", "matplotlib"}
import dr_keras
loaded = {"dr_keras": sorted(heavy & set(sys.modules))}
import dr_keras.cli_flags
loaded["cli_flags"] = sorted(heavy & set(sys.modules))
for name in sys.argv[1:]:
    importlib.import_module(name)
loaded["data"] = sorted({"tensorflow", "keras", "jax", "torch"} & set(sys.modules))
print(json.dumps(loaded))
"""


def test_imports_stay_light():
    """`import dr_keras` loads nothing; what preparation's workers import loads no Keras or TensorFlow."""
    light = [path for path in MODULES if place(path) == "data" and path.stem not in HEAVY_DATA_MODULES]
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in light
    ]
    run = subprocess.run(
        [sys.executable, "-c", LIGHT_IMPORTS, *modules], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == {"dr_keras": [], "cli_flags": [], "data": []}


def test_scripts_import_heavy_modules_inside_main_only():
    for path in SCRIPTS:
        names = imports(path, top_level_only=True)
        assert not {name.split(".")[0] for name in names} & {"tensorflow", "keras", "cv2", "matplotlib"}, path
        assert {name.split(".")[1] for name in names if name.startswith("dr_keras.")} <= {
            "cli_flags",
            "errors",
            "shipped",
        }, path


# Flags


def defined_flags(node):
    """Names of the flags that the calls inside a syntax tree define."""
    names = set()
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant):
            function = ast.unparse(call.func)
            if "DEFINE_" in function or function.split(".")[-1] == "numbers":
                names.add(call.args[0].value)
    return names


def option_fields(tree):
    """Names of the dataclass fields in a module that are made by `option`, from which flags are made."""
    return {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "option"
    }


def option_readers():
    """Syntax trees that may read a configuration: training, the architectures, its own properties."""
    modules = [path for path in MODULES if place(path) == "training" and path != CONFIGURATION]
    for path in (*modules, ROOT / "dr_keras" / "models" / "architectures.py"):
        yield ast.parse(path.read_text())
    for node in ast.walk(ast.parse(CONFIGURATION.read_text())):
        if isinstance(node, ast.FunctionDef) and "property" in map(ast.unparse, node.decorator_list):
            yield node


def reads(node):
    """Attribute names and string constants inside a syntax tree: every way to read a flag."""
    found = {child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)}
    return found | {child.value for child in ast.walk(node) if isinstance(child, ast.Constant)}


def functions(tree):
    """Top-level functions and classes of a module, without its flag validators, which only check."""
    nodes = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    return [
        node for node in nodes if not any("validator" in ast.unparse(item) for item in node.decorator_list)
    ]


def test_every_field_that_flags_are_made_of_is_read():
    fields = option_fields(ast.parse(CONFIGURATION.read_text()))
    assert {"architecture", "caps", "deterministic"} <= fields
    assert sorted(fields - set().union(*map(reads, option_readers()))) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_flag_of_a_script_is_read(path):
    shared, tree = (ast.parse(file.read_text()) for file in (ROOT / "dr_keras" / "cli_flags.py", path))
    called = {child.attr for child in ast.walk(tree) if isinstance(child, ast.Attribute)}
    helpers = []
    while found := [node for node in functions(shared) if node.name in called and node not in helpers]:
        helpers += found  # those that the script calls, and those that these call
        called |= {child.id for node in found for child in ast.walk(node) if isinstance(child, ast.Name)}
    defined = defined_flags(tree).union(*map(defined_flags, helpers))
    readers = [node for node in helpers if not defined_flags(node)]
    names = {child.id for reader in readers for child in ast.walk(reader) if isinstance(child, ast.Name)}
    readers += functions(tree) + [node for node in functions(shared) if node.name in names]
    unread = defined - set().union(*map(reads, readers))
    assert defined and sorted(unread) == []


PARSE_RECIPES = """
import json, runpy, sys
from absl import flags
script, *recipes = sys.argv[1:]
sys.argv = [script]
sys.path.insert(0, "scripts")
runpy.run_path(script, run_name="parsed")
problems = {}
for recipe in recipes:
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    try:
        flags.FLAGS([script, "--flagfile=" + recipe])
    except flags.Error as error:
        problems[recipe] = str(error)
heavy = sorted({"tensorflow", "keras", "cv2", "matplotlib"} & set(sys.modules))
print(json.dumps([problems, heavy]))
"""


def test_recipes_name_their_command_and_parse():
    by_script = {}
    for path in RECIPES:
        name = path.relative_to(ROOT)
        command = re.match(
            rf"# python (scripts/\w+\.py) --flagfile={name}\b", path.read_text(encoding="utf-8")
        )
        assert command, f"{name}: the first line names the command that runs it"
        by_script.setdefault(command[1], []).append(str(name))
    for script, recipes in by_script.items():
        command = [sys.executable, "-c", PARSE_RECIPES, script, *recipes]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert json.loads(run.stdout) == [{}, []], script


def test_recipes_of_the_paper_are_there():
    names = {path.stem for path in RECIPES}
    assert {"demo", "net5", "net4", "net5_128", "net5_256", "net4_128", "net4_256"} <= names


REGISTERED = """
import importlib.util
import dr_keras
importlib.util.find_spec("keras")  # as the scripts do, to say in one line what isn't installed
import keras
print([keras.saving.get_registered_object(f"dr_keras>{name}") is not None for name in (
    "Standardize", "Rules", "GroupedConv2D", "LocalResponseNormalization", "QuadraticWeightedKappa")])
"""


def test_keras_knows_this_packages_classes_after_a_search_for_it_too():
    run = subprocess.run([sys.executable, "-c", REGISTERED], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == str([True] * 5), run.stderr
