"""The looks of the embedded people: a clean labelled source and shifted, street-like targets."""

from dataclasses import dataclass, replace

Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """Everything in which two generated data sets differ. Ranges are uniform unless said otherwise."""

    stream: int  # first word of every seed, so that two styles never share a person or a camera
    people: int  # identities to train on
    test_people: int  # further identities, for query and gallery
    cameras: int

    # Wardrobe: shares of all garments, then HSV ranges of the coloured rest.
    grey: float
    blue: float
    saturation: Range
    value: Range
    textured: float  # share of tops that are not plain
    folds: float  # depth of the cloth folds, fraction of the shade

    # Cameras.
    view_spread: float  # degrees by which a tracklet's walking direction leaves its camera's lane
    views: tuple[float, ...]  # walking direction by camera, degrees; 0 comes towards the camera, 90 goes right
    pitch: Range  # degrees the camera looks down
    ambient: Range  # share of the light that has no direction
    exposure: Range  # gain of the whole image
    gamma: float  # largest natural logarithm of the gamma
    tint: float  # largest gain of one channel against the mean
    turned: float  # share of walks that go the other way along the lane
    grounds: tuple[str, ...]  # by camera
    drab: float  # share of grey mixed into the scene's colours
    weather: float  # standard deviation of the log of the light, from walk to walk
    clutter: float  # share of a scene's textures and objects, 0..1
    alike: bool  # the cameras differ in their scene and lane alone, not in pitch, light and sensor

    # Tracker and sensor.
    jitter: float  # pixels (of 128) by which a box leaves its person
    occluded: float  # share of tracklets in which something passes in front
    crowded: float  # share of tracklets in which another person walks by
    resolution: Range  # scale at which the frame was seen before it was resized
    noise: Range  # standard deviation, grey levels
    quality: tuple[int, int]  # JPEG


SOURCE = Style(
    stream=1,
    people=100,
    test_people=16,
    cameras=4,
    grey=0.25,
    blue=0.1,
    saturation=(0.35, 0.9),
    value=(0.35, 0.95),
    textured=0.5,
    folds=0.05,
    view_spread=18.0,
    turned=0.0,
    grounds=("paving", "asphalt", "grass", "tiles"),
    drab=0.15,
    views=(20.0, 90.0, 200.0, 300.0),
    pitch=(6.0, 16.0),
    ambient=(0.5, 0.65),
    exposure=(0.95, 1.08),
    gamma=0.08,
    tint=0.03,
    weather=0.03,
    clutter=0.25,
    alike=False,
    jitter=1.2,
    occluded=0.0,
    crowded=0.0,
    resolution=(1.0, 1.0),
    noise=(0.0, 1.0),
    quality=(90, 92),
)

REAL = Style(
    stream=2,
    people=72,
    test_people=60,
    cameras=3,
    grey=0.46,
    blue=0.18,
    saturation=(0.18, 0.55),
    value=(0.2, 0.7),
    textured=0.4,
    folds=0.14,
    view_spread=25.0,
    turned=0.2,
    grounds=("asphalt", "paving", "tiles"),
    drab=0.6,
    views=(55.0, 160.0, 275.0),
    pitch=(10.0, 28.0),
    ambient=(0.6, 0.8),
    exposure=(0.86, 1.0),
    gamma=0.15,
    tint=0.05,
    weather=0.08,
    clutter=0.9,
    alike=False,
    jitter=3.0,
    occluded=0.25,
    crowded=0.2,
    resolution=(0.42, 0.7),
    noise=(3.0, 6.0),
    quality=(45, 75),
)

# The gap between the domains without that between cameras: those of one street, seen from one side.
ALIKE = replace(REAL, stream=3, views=(130.0, 160.0, 190.0), alike=True)

STYLES = {"source": SOURCE, "real": REAL, "alike": ALIKE}
