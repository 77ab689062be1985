"""Images of handwritten digits of the size of MNIST's, made from scikit-learn's small ones.

Each is one of the 1,797 images of 8 x 8 pixels, enlarged to 28 x 28, moved by up to two pixels and
given some noise. So they have what random pixels lack: classes, near neighbors and dark borders.
"""

import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

SIDE = 28
MAX_SHIFT = 2
NOISE = 8.0


def make_digits(n_images, seed=0):
    """Return (images of shape (n_images, 784), uint8; classes 0 to 9, int64)."""
    small = load_digits()
    room = SIDE + 2 * MAX_SHIFT
    large = np.zeros((len(small.images), room, room), np.float32)
    inner = slice(MAX_SHIFT, MAX_SHIFT + SIDE)
    side = SIDE / small.images.shape[1]
    large[:, inner, inner] = zoom(small.images * (255 / 16), (1, side, side), order=1)

    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(large), n_images)
    corners = rng.integers(0, 2 * MAX_SHIFT + 1, (n_images, 2))
    images = np.empty((n_images, SIDE, SIDE), np.uint8)
    for image, source, (top, left) in zip(images, chosen, corners, strict=True):
        moved = large[source, top : top + SIDE, left : left + SIDE]
        noisy = moved + NOISE * rng.standard_normal((SIDE, SIDE), np.float32)
        image[:] = noisy.clip(0, 255)
    return images.reshape(n_images, -1), small.target[chosen].astype(np.int64)
