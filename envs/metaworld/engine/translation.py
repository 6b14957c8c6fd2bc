"""One Metaworld class as machine code: observation, reward, success and info of one step, bit for bit.

The class's own ``_get_obs`` and ``evaluate_state`` run once, rewritten for symbols, on a stand-in for the environment
object. Numbers that the simulation provides are read through pointers, numbers that a reset decides ("parameters", such
as ``obj_init_pos``) from a row that belongs to the sub-environment, and everything else is a constant of the class.
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
    NO,
    POINTER,
    WORD,
    YES,
    Optional,
    Symbol,
    Truth,
    Unsupported,
    Writer,
    lift,
    objects,
    select,
)
from kshot.types import Array

FIELDS = ("xpos", "xquat", "xmat", "site_xpos", "site_xmat", "geom_xpos", "geom_xmat", "qpos")
"""Arrays of MjData that the code may read, in the order in which their addresses are passed."""
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
        params: attribute name -> (offset, size) in the parameter row.
        n_params: length of the parameter row.
        constants: attributes that were taken for constants of the class.
        touched: geom whose touch decides ``grasp_success``, or ``NO_GEOM``.
    """

    address: int
    params: dict[str, tuple[int, int]]
    n_params: int
    constants: dict[str, Any]
    touched: int
    keep: Any = field(repr=False)


def translate(env: SawyerXYZEnv, single: bool) -> Translation:
    """Translate the class of ``env``, which must have been reset.

    Args:
        env: an environment of the class, goal hidden or observable as its users' will be.
        single: actions are float32, which in some classes changes the arithmetic of the reward.

    Raises:
        Unsupported: the code of the class uses something that has no exact translation.
    """
    module = ir.Module("metaworld")
    pointers = [POINTER.as_pointer(), POINTER, POINTER, POINTER, POINTER]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), pointers), "evaluate")
    writer = Writer(ir.IRBuilder(function.append_basic_block()))
    fields, params, inputs, obs_out, out = function.args

    strong, short = (NO, YES) if single else (YES, NO)
    action = objects([Symbol(writer, load(writer, inputs, i), strong, short) for i in range(4)])
    touch = writer.ir.fcmp_ordered("!=", load(writer, inputs, 4), ir.Constant(DOUBLE, 0.0))
    stand_in = StandIn(writer, env, fields, params, Truth(writer, touch))

    raw = stand_in._get_obs()
    space = env.sawyer_observation_space
    obs = library.clip(raw, space.low, space.high)
    reward, info = stand_in.evaluate_state(obs, action)
    if sorted(info) != sorted(INFO_KEYS):
        raise Unsupported(f"info keys {tuple(info)}")

    for i, value in enumerate(obs):
        store(writer, obs_out, i, value)
    for i, value in enumerate((reward, *(info[key] for key in INFO_KEYS))):
        store(writer, out, i, value)
    for name, value in stand_in.written.items():
        offset, _ = stand_in.params[name]
        for i, item in enumerate(np.atleast_1d(value)):
            store(writer, params, offset + i, item)
    store(writer, out, 1 + len(INFO_KEYS), Truth(writer, writer.failed))
    writer.ir.ret_void()
    engine = compile_module(module)
    return Translation(
        engine.get_function_address("evaluate"),
        stand_in.params,
        stand_in.n_params,
        stand_in.constants,
        stand_in.touched,
        engine,
    )


class StandIn:
    """An environment object as the rewritten methods see it."""

    def __init__(self, writer: Writer, env: SawyerXYZEnv, fields: ir.Value, params: ir.Value, touch: Truth) -> None:
        self.params: dict[str, tuple[int, int]] = {}
        self.n_params = 0
        self.constants: dict[str, Any] = {}
        self.written: dict[str, Any] = {}
        self.touched = NO_GEOM
        self.touch = touch
        self.data = DataStandIn(writer, env, fields)
        self._writer = writer
        self._env = env
        self._pointer = params
        # Global names of the official modules that must mean something else: libraries, and the class itself.
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
            return self._number(name, vars(self._env)[name])
        found = inspect.getattr_static(type(self._env), name)
        if isinstance(found, property):
            assert found.fget is not None
            return rewrite(found.fget, self._writer, self._helpers)(self)
        if isinstance(found, staticmethod):
            return rewrite(found.__func__, self._writer, self._helpers)
        if isinstance(found, FunctionType):
            method: Callable[..., Any] = rewrite(found, self._writer, self._helpers)
            return lambda *args, **kwargs: method(self, *args, **kwargs)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if "_helpers" in self.__dict__ and name in vars(self._env):
            before = self.__getattr__(name)  # also gives it a place in the row
            condition = self._writer.condition()
            self.written[name] = value if condition is None else select(condition, value, before)
        else:
            super().__setattr__(name, value)

    def touching_object(self, geom: int) -> Truth:
        self.touched = geom
        return self.touch

    def _number(self, name: str, value: Any) -> Any:
        if isinstance(value, (str, bool, int)):
            self.constants[name] = value
            return value
        live = self.data.live(value)
        if live is not None:
            return live
        if name not in self.params:
            self.params[name] = (self.n_params, np.size(value))
            self.n_params += np.size(value)
        offset, size = self.params[name]
        if value is None:  # a number that the first step sets
            return Optional(self._writer, load(self._writer, self._pointer, offset))
        strong = YES if isinstance(value, (np.ndarray, np.floating)) else NO
        items = [Symbol(self._writer, load(self._writer, self._pointer, offset + i), strong) for i in range(size)]
        return objects(items).reshape(value.shape) if isinstance(value, np.ndarray) else items[0]


class DataStandIn:
    """``env.data``: positions and orientations by name, read when the code runs."""

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
        (qpos,) = self._read("qpos", start, len(joint.qpos), row=1)  # a hinge or a slide: one number
        return SimpleNamespace(id=joint.id, qpos=qpos)

    def live(self, value: Any) -> Any:
        """``value``'s place in the simulation's arrays if it is a view of them, as some attributes are by mistake."""
        if not isinstance(value, np.ndarray):
            return None
        for name in FIELDS:
            array: Array = getattr(self._env.data, name)
            if np.shares_memory(array, value):
                first = (value.ctypes.data - array.ctypes.data) // array.itemsize
                if not value.flags.c_contiguous:
                    raise Unsupported("a strided view of the simulation")
                return self._read(name, first, value.size, row=1)
        return None

    def _read(self, name: str, index: int, size: int, row: int | None = None) -> Any:
        build = self._writer.ir
        array = build.load(build.gep(self._fields, [ir.Constant(WORD, FIELDS.index(name))]))
        first = index * (size if row is None else row)
        return objects([Symbol(self._writer, load(self._writer, array, first + i), YES) for i in range(size)])


def load(writer: Writer, pointer: ir.Value, index: int) -> ir.Value:
    """``pointer[index]``."""
    return writer.ir.load(writer.ir.gep(pointer, [ir.Constant(WORD, index)]))


def store(writer: Writer, pointer: ir.Value, index: int, value: Any) -> None:
    """``pointer[index] = value``."""
    number = value.number() if isinstance(value, Truth) else lift(writer, value)
    writer.ir.store(number.value, writer.ir.gep(pointer, [ir.Constant(WORD, index)]))


def compile_module(module: ir.Module) -> Any:
    """The module as machine code of this process; it lives as long as the returned engine."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=2, jit=True)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(parsed, builder)
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    return engine
