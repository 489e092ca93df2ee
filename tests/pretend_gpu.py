"""A GPU that is none: after `install`, torch has a device "cuda:0", whose tensors lie in main memory.

What is to run on a GPU can so be run without one: everything that asks for the device, `is_cuda` or torch.cuda gets a
GPU's answers. Operations are calculated on the CPU, with the numbers of the CPU. What a GPU refuses is refused:
operations on tensors of two devices, random numbers from a generator of the other device, NumPy's view of a GPU's
memory. What makes the processor wait for the GPU is noted, with the line of ours that does it.

It tells nothing of a GPU's kernels: which types they take, what they round, how fast they are and whether they repeat.

All of it holds for the whole process and cannot be undone, so it is for processes of their own, and is installed before
bench is imported, some of whose modules keep `torch.Generator`. For versions of torch without CUDA. As a plugin of
pytest, `-p tests.pretend_gpu`, it is installed as pytest starts.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

GPU = torch.device("cuda:0")
CPU = torch.device("cpu")
NAME = "pretended"
"""Of the device that it is to torch inside: one of CUDA's would need libraries of CUDA's."""
MEMORY_BYTES = 2**34
OURS = tuple(str(Path(__file__).resolve().parent.parent / folder) for folder in ("methods", "bench", "datasets"))
ATEN = torch.ops.aten
SET = ATEN.set_.source_Storage_storage_offset
ON_CPU = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)

READS = {
    ATEN._local_scalar_dense,
    ATEN.equal,
    ATEN.nonzero,
    ATEN.masked_select,
    ATEN._unique2,
    ATEN.unique_dim,
    ATEN.unique_consecutive,
    ATEN.bincount,
    ATEN._linalg_check_errors,
    ATEN._linalg_eigh,
    ATEN._linalg_svd,
    ATEN.linalg_eig,
    ATEN.linalg_lstsq,
}
"""What a GPU can do only while the processor waits: the size of the result, or an error, is among what it computes."""
ANY_DEVICE = {ATEN.copy_, ATEN._to_copy, ATEN.index, ATEN.index_put, ATEN.index_put_, ATEN._index_put_impl_}
"""What takes tensors of several devices; to be indexed, a tensor takes indices of its own device or of the CPU."""
SCALAR_FROM_CPU = {
    ATEN.masked_fill,
    ATEN.masked_fill_,
    ATEN.fill_,
    ATEN.index_fill,
    ATEN.index_fill_,
    ATEN._foreach_addcdiv_,
    ATEN._foreach_addcmul_,
}
"""What takes a number from a tensor without dimensions on the CPU, beside all pointwise operations."""


class WrongDeviceError(RuntimeError):
    """What a GPU would have refused."""


@dataclass(frozen=True)
class Wait:
    """The processor waited for the GPU: in which operation, for which line of ours."""

    operation: str
    line: str


class Generator(torch.Generator):
    """A generator of random numbers that says to be of the device it was asked for."""

    of_gpu: ClassVar[WeakValueDictionary[int, Generator]] = WeakValueDictionary()

    def __new__(cls, device: torch.device | str = CPU) -> Generator:
        made = super().__new__(cls)
        made.place = torch.device(device)
        if made.place.type == "cuda":
            cls.of_gpu[made._cdata] = made
        return made

    @property
    def device(self) -> torch.device:
        return self.place


class PretendGPU(TorchDispatchMode):
    """Makes every operation of torch.

    common_stream: whether what is drawn on the GPU comes from the CPU's own random stream, so that numbers are those of
        a run on the CPU; else the GPU has one of its own, as it has in truth.
    waits: what the processor has waited for so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.common_stream = True
        self.stream = torch.Generator().get_state()
        self.waits: list[Wait] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the compiler, whose import takes seconds, has no part in this

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        operation = func.overloadpacket
        given = [*tensors_in((args, kwargs))]
        if operation is ATEN.set_:
            return func.redispatch(ON_CPU, *args)  # which needs no memory
        if operation is ATEN.is_pinned:
            return _is_pinned(given[0])
        if operation is ATEN._pin_memory:
            pinned = given[0].clone()
            pinned.untyped_storage().pinned = True
            return pinned
        asked, here = kwargs.get("device"), any(tensor.is_cuda for tensor in given)
        is_gpu = here if asked is None else asked.type in ("cuda", NAME)
        draws = torch.Tag.nondeterministic_seeded in func.tags
        if draws:
            self._require_stream_of(GPU if is_gpu else CPU, args, kwargs)
        if not (here or is_gpu):
            return func(*args, **kwargs)
        self._require_one_device(operation, func, given)
        self._note_waits(operation, func, given, args, kwargs, is_gpu)
        if is_gpu and asked is not None:
            kwargs["device"] = CPU
        places = _Places(is_gpu)
        with self._drawing() if draws and is_gpu else nullcontext():
            result = func(*_replaced(args, places.inside), **_replaced(kwargs, places.inside))
        return _replaced(result, places.outside)

    def _require_one_device(self, operation: Any, func: Any, given: Sequence[Tensor]) -> None:
        foreign = [tensor for tensor in given if tensor.device == CPU]
        if not foreign or operation in ANY_DEVICE:
            if operation not in (ATEN.copy_, ATEN._to_copy) and given and given[0].device == CPU:
                raise WrongDeviceError(f"{func}: indices of a tensor on the CPU are on {GPU}")
            return
        takes_scalars = torch.Tag.pointwise in func.tags or operation in SCALAR_FROM_CPU
        in_place = func._schema.is_mutable and given[0].device == CPU
        if in_place or not takes_scalars or any(tensor.dim() for tensor in foreign):
            shapes = [f"{list(tensor.shape)} on {tensor.device}" for tensor in given]
            raise WrongDeviceError(f"{func}: tensors are on two devices: {', '.join(shapes)}")

    def _require_stream_of(self, device: torch.device, args: Any, kwargs: Any) -> None:
        streams = [value for value in (*args, *kwargs.values()) if isinstance(value, torch._C.Generator)]
        for stream in streams:
            place = GPU if stream._cdata in Generator.of_gpu else CPU
            if place != device:
                raise WrongDeviceError(f"random numbers on {device} are drawn from a generator of {place}")

    def _note_waits(
        self, operation: Any, func: Any, given: Sequence[Tensor], args: Any, kwargs: Any, is_gpu: bool
    ) -> None:
        if operation in (ATEN.copy_, ATEN._to_copy):
            source, to_gpu = given[-1], given[0].is_cuda if operation is ATEN.copy_ else is_gpu
            is_free = (True in args[2:] or kwargs.get("non_blocking")) and _is_pinned(source)
            waits = source.is_cuda != to_gpu and not is_free
        elif operation in ANY_DEVICE:
            waits = _waits_for_index(*args)
        elif operation is ATEN.repeat_interleave:
            waits = kwargs.get("output_size") is None
        else:
            waits = operation in READS
        if waits:
            self.waits.append(Wait(str(func), _line_of_ours()))

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Within its block the CPU's generator is in the GPU's place."""
        if self.common_stream:
            yield
            return
        before = torch.get_rng_state()
        torch.set_rng_state(self.stream)
        try:
            yield
        finally:
            self.stream = torch.get_rng_state()
            torch.set_rng_state(before)

    def seed(self, seed: int) -> None:
        self.stream = torch.Generator().manual_seed(seed).get_state()

    def get_stream(self, device: Any = GPU) -> Tensor:
        return torch.get_rng_state() if self.common_stream else self.stream.clone()

    def set_stream(self, state: Tensor, device: Any = GPU) -> None:
        if self.common_stream:
            torch.set_rng_state(state)
        else:
            self.stream = state.clone()

    @contextmanager
    def noting(self) -> Iterator[list[Wait]]:
        """The waits within its block."""
        found: list[Wait] = []
        start = len(self.waits)
        yield found
        found += self.waits[start:]


def install() -> PretendGPU:
    """Gives torch the device, for as long as the process lives."""
    if torch.backends.cuda.is_built():
        raise RuntimeError("torch is built for CUDA: it has GPUs of its own")
    _setup_privateuseone_for_python_backend(NAME, backend_module=torch.cuda)
    # With what torch keeps in place, a module that moves would have new parameters, which its optimizers do not know.
    torch.__future__.set_swap_module_params_on_conversion(True)
    torch._C._set_only_lift_cpu_tensors(True)  # else torch.tensor(…, device="cuda") copies unseen

    gpu = PretendGPU()
    answers: dict[str, Callable[..., Any]] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_name": lambda device=None: "a GPU that is none",
        "is_bf16_supported": lambda including_emulation=True: True,
        "synchronize": lambda device=None: None,
        "mem_get_info": lambda device=None: (MEMORY_BYTES, MEMORY_BYTES),
        "reset_peak_memory_stats": lambda device=None: None,
        "max_memory_allocated": lambda device=None: MEMORY_BYTES // 2,
        "manual_seed_all": gpu.seed,
        "get_rng_state": gpu.get_stream,
        "set_rng_state": gpu.set_stream,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)
    torch.Generator = Generator
    inside = Tensor.device.__get__
    Tensor.device = property(lambda self: GPU if inside(self).type == NAME else inside(self))
    Tensor.is_cuda = property(lambda self: inside(self).type == NAME)
    for place, name in ((Tensor, "to"), (torch, "tensor"), (torch, "as_tensor")):
        setattr(place, name, _renaming(getattr(place, name)))
    clone = torch.UntypedStorage.clone
    torch.UntypedStorage.clone = lambda self: _of_gpu(self.memory.clone()) if hasattr(self, "memory") else clone(self)
    gpu.__enter__()
    return gpu


INSTALLED: list[PretendGPU] = []


def pytest_configure() -> None:
    INSTALLED.append(install())


@pytest.fixture
def gpu() -> PretendGPU:
    """The GPU, as it is at first."""
    (pretended,) = INSTALLED
    pretended.common_stream = True
    return pretended


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Those among the arguments of an operation, in their order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)


def _replaced(value: Any, replace: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return replace(value)
    if isinstance(value, list | tuple):
        return type(value)(_replaced(item, replace) for item in value)
    if isinstance(value, dict):
        return {name: _replaced(item, replace) for name, item in value.items()}
    return value


def _is_pinned(tensor: Tensor) -> bool:
    """Whether a GPU can copy it by itself."""
    return getattr(tensor.untyped_storage(), "pinned", False)


def _waits_for_index(tensor: Tensor, indices: Any, values: Tensor | None = None, *_: Any) -> bool:
    """Indices on the CPU are copied; a mask is first made a list of places, unless a number is all that it takes."""
    given = [*tensors_in(indices)]
    masks = any(index.dtype in (torch.bool, torch.uint8) for index in given)
    if masks and values is not None and values.numel() == 1:
        return False
    return masks or any(not each.is_cuda for each in (*given, *tensors_in(values)))


def _renaming(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of torch that needs a device by the name that it has inside."""

    def inner(value: Any) -> Any:
        is_gpu = isinstance(value, torch.device | str) and torch.device(value).type == "cuda"
        return torch.device(NAME, 0) if is_gpu else value

    @functools.wraps(function)
    def renamed(*args: Any, **kwargs: Any) -> Any:
        return function(*map(inner, args), **{name: inner(value) for name, value in kwargs.items()})

    return renamed


class _Places:
    """The tensors and memory that an operation was given: what it gives back may be in the same place.

    is_gpu: whether what it makes is on the GPU.
    """

    def __init__(self, is_gpu: bool) -> None:
        self.is_gpu = is_gpu
        self.tensors: dict[int, tuple[Tensor, Tensor]] = {}  # by the identity of what they are in main memory
        self.storages: dict[int, torch.UntypedStorage] = {}

    def inside(self, tensor: Tensor) -> Tensor:
        """What a tensor is in main memory."""
        if not tensor.is_cuda:
            return tensor
        storage: Any = tensor.untyped_storage()
        place = (tensor.storage_offset(), tensor.shape, tensor.stride())
        found = torch.empty(0, dtype=tensor.dtype).set_(storage.memory, *place)
        self.tensors[id(found)] = tensor, found
        self.storages[storage.memory._cdata] = storage
        return found

    def outside(self, found: Tensor) -> Tensor:
        """What a tensor in main memory is to those who asked for the operation."""
        place = (found.storage_offset(), found.shape, found.stride())
        if id(found) in self.tensors:
            tensor, _ = self.tensors[id(found)]
            if place == (tensor.storage_offset(), tensor.shape, tensor.stride()):
                return tensor
        elif self.is_gpu:
            tensor = torch._C._acc.create_empty_tensor([0], found.dtype)
        else:
            return found
        memory = found.untyped_storage()
        return SET.redispatch(ON_CPU, tensor, self.storages.get(memory._cdata) or _of_gpu(memory), *place)


def _of_gpu(memory: torch.UntypedStorage) -> torch.UntypedStorage:
    """Main memory as it is on the GPU."""
    storage: Any = torch._C._construct_storage_from_data_pointer(
        memory.data_ptr(), torch.device(NAME, 0), memory.nbytes()
    )
    storage.memory = memory
    return storage


def _line_of_ours() -> str:
    """The innermost line of methods, bench or datasets; in derivatives, that which asked for them."""
    frames = [sys._getframe(), sys._current_frames()[threading.main_thread().ident or 0]]
    for start in frames:
        frame: FrameType | None = start
        while frame is not None:
            if frame.f_code.co_filename.startswith(OURS):
                path = Path(frame.f_code.co_filename)
                return f"{path.relative_to(Path(OURS[0]).parent)}:{frame.f_lineno} in {frame.f_code.co_name}"
            frame = frame.f_back
    return "none of ours"
