"""What else loads clips: torch's DataLoader with PIL or OpenCV, DALI's own file reader, decord on videos.

Each is a generator of batches (B, T, 3, H, W) float32, normalised, of a plan without augmentation; it works on
as many cores as ours and ahead of need as far as it can.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from timing import installed
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vreid_fast.kernels.gather_clips import IMAGENET_MEAN, IMAGENET_STD


class Clips(Dataset):
    """The clip (T, 3, H, W) of a request, read as `decode` reads one."""

    def __init__(self, plan, tracklets, size, decode):
        self.requests = [request for step in plan for request in step]
        self.tracklets, self.size, self.decode = tracklets, size, decode
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    def __len__(self) -> int:
        return len(self.requests)

    def __getitem__(self, index: int) -> Tensor:
        request = self.requests[index]
        frames = self.decode(self.tracklets[request.tracklet], request.frames, self.size)
        # All frames at once and in place: as fast as it gets with torch alone.
        return torch.from_numpy(frames).permute(0, 3, 1, 2).float().sub_(self.mean).div_(self.std)


def pil(tracklet, numbers, size) -> np.ndarray:
    from PIL import Image

    frames = []
    for number in numbers:
        with Image.open(tracklet.frames[number]) as image:
            image = image.convert("RGB")
            frames.append(np.asarray(image if image.size == size[::-1] else image.resize(size[::-1])))
    return np.stack(frames)


def opencv(tracklet, numbers, size) -> np.ndarray:
    import cv2

    cv2.setNumThreads(0)
    frames = []
    for number in numbers:
        image = cv2.cvtColor(cv2.imread(tracklet.frames[number]), cv2.COLOR_BGR2RGB)
        frames.append(image if image.shape[:2] == size else cv2.resize(image, size[::-1]))
    return np.stack(frames)


def decord(tracklet, numbers, size) -> np.ndarray:
    import decord as library

    reader = library.VideoReader(tracklet.video, height=size[0], width=size[1], num_threads=1)
    return reader.get_batch(numbers.tolist()).asnumpy()


def data_loader(plan, tracklets, size, threads, decode) -> Iterator[Tensor]:
    batches = np.cumsum([0, *map(len, plan)])
    sampler = [range(first, last) for first, last in zip(batches, batches[1:])]
    yield from DataLoader(
        Clips(plan, tracklets, size, decode),
        batch_sampler=sampler,
        num_workers=threads,
        prefetch_factor=2,
        pin_memory=torch.cuda.is_available(),
    )


def dali_reader(plan, tracklets, size, threads, resize: bool) -> Iterator[Tensor]:
    """readers.file -> decoders.image -> (resize) -> crop_mirror_normalize; without resize the sizes must be right."""
    from nvidia.dali import Pipeline, fn, types

    files = [tracklets[r.tracklet].frames[number] for step in plan for r in step for number in r.frames]
    clips, frames = len(plan[0]), len(plan[0][0].frames)
    # With the dynamic executor a batch's memory lives as long as its tensor: no copy.
    pipeline = Pipeline(clips * frames, threads, None, prefetch_queue_depth=2, exec_dynamic=True)
    with pipeline:
        encoded, _ = fn.readers.file(files=files, name="reader")
        images = fn.decoders.image(encoded, device="cpu", output_type=types.RGB)
        if resize:
            images = fn.resize(images, size=size, interp_type=types.INTERP_LINEAR, antialias=True)
        pipeline.set_outputs(
            fn.crop_mirror_normalize(
                images, mean=IMAGENET_MEAN, std=IMAGENET_STD, dtype=types.FLOAT, output_layout="CHW"
            )
        )
    pipeline.build()
    for _ in plan:
        (output,) = pipeline.run()
        yield torch.from_dlpack(output.as_tensor()).view(clips, frames, 3, *size)


def rivals(threads: int) -> dict:
    """Name -> generator function of (plan, tracklets, size), for image files."""
    found = {"torch DataLoader, PIL": lambda *job: data_loader(*job, threads, pil)}
    if installed("cv2"):
        found["torch DataLoader, OpenCV"] = lambda *job: data_loader(*job, threads, opencv)
    found["DALI file reader"] = lambda *job: dali_reader(*job, threads, True)
    found["DALI file reader, no resize"] = lambda *job: dali_reader(*job, threads, False)
    return found


def video_rivals(threads: int) -> dict:
    """The same for video files."""
    return {"torch DataLoader, decord": lambda *job: data_loader(*job, threads, decord)} if installed("decord") else {}
