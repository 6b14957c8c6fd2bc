"""One Metaworld class as machine code: observation, reward, success and info of one step, bit for bit.

The class's own ``_get_obs`` and ``evaluate_state`` run once, rewritten for symbols, with ``SymbolicEnv`` as ``self``.
The machine code reads numbers of the simulation through pointers and numbers that a reset decides ("parameters", such
as ``obj_init_pos``) from an array of the sub-environment. Everything else is a constant of the class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType, SimpleNamespace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from metaworld.sawyer_xyz_env import SawyerXYZEnv
from metaworld.utils import reward_utils

from kshot.envs.metaworld.engine import library
from kshot.envs.metaworld.engine.rewriting import rewrite
from kshot.envs.metaworld.engine.symbols import (
    DOUBLE,
    FALSE,
    POINTER,
    TRUE,
    WORD,
    Condition,
    OptionalSymbol,
    Symbol,
    Unsupported,
    Writer,
    lift,
    select,
    symbol_array,
)
from kshot.types import Array

FIELDS = ("xpos", "xquat", "xmat", "site_xpos", "site_xmat", "geom_xpos", "geom_xmat", "qpos")
"""Arrays of MjData that the machine code may read, in the order in which it gets their addresses."""
INFO_KEYS = (
    "success",
    "near_object",
    "grasp_success",
    "grasp_reward",
    "in_place_reward",
    "obj_to_target",
    "unscaled_reward",
)
NO_GEOM = -1


@dataclass
class Translation:
    """Machine code of one class.

    Attributes:
        address: of ``void f(double** fields, double* params, double* action, double* obs, double* out)``.
            ``action`` is [5]: the action and whether the gripper touches the object; ``obs`` [39]; ``out`` [9]: reward,
            info in the order of ``INFO_KEYS``, and 1 where the original would raise.
        params: attribute name -> (offset, size) in the array of parameters.
        n_params: length of that array.
        constants: attributes that the code takes for constants of the class.
        touched_geom: the geom that counts as the object where the gripper touches it, or ``NO_GEOM``.
        jit_engine: LLVM's owner of the machine code, which lives as long as it.
    """

    address: int
    params: dict[str, tuple[int, int]]
    n_params: int
    constants: dict[str, Any]
    touched_geom: int
    jit_engine: Any = field(repr=False)


def translate(env: SawyerXYZEnv, single: bool) -> Translation:
    """Translate the class of ``env``, which must have been reset.

    Args:
        env: an environment of the class, with the goal hidden or observable as in those that the code is for.
        single: for float32 actions, which in some classes change the arithmetic of the reward.

    Raises:
        Unsupported: the code of the class uses something that has no exact translation.
    """
    module = ir.Module("metaworld")
    pointers = [POINTER.as_pointer(), POINTER, POINTER, POINTER, POINTER]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), pointers), "evaluate")
    writer = Writer(ir.IRBuilder(function.append_basic_block()))
    fields, params, inputs, obs_out, out = function.args

    is_float64, is_float32 = (FALSE, TRUE) if single else (TRUE, FALSE)
    action = symbol_array([Symbol(writer, load(writer, inputs, i), is_float64, is_float32) for i in range(4)])
    touch = writer.ir.fcmp_ordered("!=", load(writer, inputs, 4), ir.Constant(DOUBLE, 0.0))
    env_symbols = SymbolicEnv(writer, env, fields, params, Condition(writer, touch))

    raw = env_symbols._get_obs()
    space = env.sawyer_observation_space
    obs = library.clip(raw, space.low, space.high)
    reward, info = env_symbols.evaluate_state(obs, action)
    if sorted(info) != sorted(INFO_KEYS):
        raise Unsupported(f"info keys {tuple(info)}")

    for i, value in enumerate(obs):
        store(writer, obs_out, i, value)
    for i, value in enumerate((reward, *(info[key] for key in INFO_KEYS))):
        store(writer, out, i, value)
    for name, value in env_symbols.written.items():
        offset, _ = env_symbols.params[name]
        for i, item in enumerate(np.atleast_1d(value)):
            store(writer, params, offset + i, item)
    store(writer, out, 1 + len(INFO_KEYS), Condition(writer, writer.failed))
    writer.ir.ret_void()
    jit_engine = compile_module(module)
    return Translation(
        jit_engine.get_function_address("evaluate"),
        env_symbols.params,
        env_symbols.n_params,
        env_symbols.constants,
        env_symbols.touched_geom,
        jit_engine,
    )


class SymbolicEnv:
    """The environment object that rewritten methods get as ``self``.

    Attributes:
        params, n_params, constants, touched_geom: see ``Translation``; known once the methods have run.
        written: attributes that the methods have assigned.
        touch: whether the gripper touches the object.
        data: the simulation's data.
    """

    def __init__(self, writer: Writer, env: SawyerXYZEnv, fields: ir.Value, params: ir.Value, touch: Condition) -> None:
        self.params: dict[str, tuple[int, int]] = {}
        self.n_params = 0
        self.constants: dict[str, Any] = {}
        self.written: dict[str, Any] = {}
        self.touched_geom = NO_GEOM
        self.touch = touch
        self.data = SymbolicData(writer, env, fields)
        self._writer = writer
        self._env = env
        self._pointer = params
        # Global names of metaworld's modules that mean something else here: libraries, and the class itself.
        helpers: dict[str, Any] = {"np": library.numpy, "Rotation": library.Rotation}
        names = ("tolerance", "_sigmoids", "hamacher_product", "rect_prism_tolerance", "inverse_tolerance")
        for name in names:
            helpers[name] = lambda *a, _name=name, **k: rewrite(getattr(reward_utils, _name), writer, helpers)(*a, **k)
        helpers["reward_utils"] = SimpleNamespace(**{name: helpers[name] for name in names})
        helpers[type(env).__name__] = self
        self._helpers = helpers

    def __getattr__(self, name: str) -> Any:
        """A method, rewritten; a parameter; or a constant of the class."""
        if name == "model":
            return SimpleNamespace(geom=self.data.geom)
        if name in self.__dict__.get("written", {}):
            return self.written[name]
        if name in vars(self._env):
            return self._instance_attribute(name, vars(self._env)[name])
        attribute = inspect.getattr_static(type(self._env), name)
        if isinstance(attribute, property):
            assert attribute.fget is not None
            return rewrite(attribute.fget, self._writer, self._helpers)(self)
        if isinstance(attribute, staticmethod):
            return rewrite(attribute.__func__, self._writer, self._helpers)
        if isinstance(attribute, FunctionType):
            method: Callable[..., Any] = rewrite(attribute, self._writer, self._helpers)
            return lambda *args, **kwargs: method(self, *args, **kwargs)
        return attribute

    def __setattr__(self, name: str, value: Any) -> None:
        if "_helpers" in self.__dict__ and name in vars(self._env):
            before = self.__getattr__(name)  # also gives it a place among the parameters
            condition = self._writer.condition()
            self.written[name] = value if condition is None else select(condition, value, before)
        else:
            super().__setattr__(name, value)

    def touching_object(self, geom: int) -> Condition:
        """Instead of the original's method of that name, which adds up contact forces; ``kernel`` does."""
        self.touched_geom = geom
        return self.touch

    def _instance_attribute(self, name: str, value: Any) -> Any:
        """Attribute ``name``: a constant, a part of the simulation, or a parameter."""
        if isinstance(value, (str, bool, int)):
            self.constants[name] = value
            return value
        part = self.data.read_view(value)
        if part is not None:
            return part
        if name not in self.params:
            self.params[name] = (self.n_params, np.size(value))
            self.n_params += np.size(value)
        offset, size = self.params[name]
        if value is None:  # a number that the first step sets
            return OptionalSymbol(self._writer, load(self._writer, self._pointer, offset))
        strong = TRUE if isinstance(value, (np.ndarray, np.floating)) else FALSE
        items = [Symbol(self._writer, load(self._writer, self._pointer, offset + i), strong) for i in range(size)]
        return symbol_array(items).reshape(value.shape) if isinstance(value, np.ndarray) else items[0]


class SymbolicData:
    """``env.data`` for rewritten methods: positions and orientations by name, read when the code runs."""

    def __init__(self, writer: Writer, env: SawyerXYZEnv, fields: ir.Value) -> None:
        self._writer = writer
        self._env = env
        self._fields = fields

    def body(self, name: str) -> SimpleNamespace:
        i = self._env.data.body(name).id
        return SimpleNamespace(
            id=i, xpos=self._read("xpos", i, 3), xquat=self._read("xquat", i, 4), xmat=self._read("xmat", i, 9)
        )

    def site(self, name: str) -> SimpleNamespace:
        i = self._env.data.site(name).id
        return SimpleNamespace(id=i, xpos=self._read("site_xpos", i, 3), xmat=self._read("site_xmat", i, 9))

    def geom(self, name: str) -> SimpleNamespace:
        i = self._env.data.geom(name).id
        return SimpleNamespace(id=i, xpos=self._read("geom_xpos", i, 3), xmat=self._read("geom_xmat", i, 9))

    def joint(self, name: str) -> SimpleNamespace:
        joint = self._env.data.joint(name)
        start = int(self._env.model.jnt_qposadr[joint.id])
        (qpos,) = self._read("qpos", start, len(joint.qpos), stride=1)  # a hinge or a slide: one number
        return SimpleNamespace(id=joint.id, qpos=qpos)

    def read_view(self, value: Any) -> Any:
        """The numbers of the simulation that ``value`` is a view of, as some attributes are by mistake; else None."""
        if not isinstance(value, np.ndarray):
            return None
        for name in FIELDS:
            array: Array = getattr(self._env.data, name)
            if np.shares_memory(array, value):
                first = (value.ctypes.data - array.ctypes.data) // array.itemsize
                if not value.flags.c_contiguous:
                    raise Unsupported("a strided view of the simulation")
                return self._read(name, first, value.size, stride=1)
        return None

    def _read(self, name: str, index: int, size: int, stride: int | None = None) -> Any:
        """[size] numbers of array ``name`` from ``index`` * ``stride`` on; the stride is ``size`` if not given."""
        build = self._writer.ir
        array = build.load(build.gep(self._fields, [ir.Constant(WORD, FIELDS.index(name))]))
        first = index * (size if stride is None else stride)
        return symbol_array([Symbol(self._writer, load(self._writer, array, first + i), TRUE) for i in range(size)])


def load(writer: Writer, pointer: ir.Value, index: int) -> ir.Value:
    """``pointer[index]``."""
    return writer.ir.load(writer.ir.gep(pointer, [ir.Constant(WORD, index)]))


def store(writer: Writer, pointer: ir.Value, index: int, value: Any) -> None:
    """``pointer[index] = value``."""
    number = value.number() if isinstance(value, Condition) else lift(writer, value)
    writer.ir.store(number.value, writer.ir.gep(pointer, [ir.Constant(WORD, index)]))


def compile_module(module: ir.Module) -> Any:
    """Compile for this process; the machine code lives as long as the returned JIT engine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2, jit=True)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(parsed, builder)
    jit_engine = llvm.create_mcjit_compiler(parsed, machine)
    jit_engine.finalize_object()
    return jit_engine
