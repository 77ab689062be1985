from . import accel as accel
from . import circuit as circuit
from . import datasets as datasets
from . import gradcheck as gradcheck
from . import inspection as inspection
from . import linear_model as linear_model
from . import losses as losses
from . import metrics as metrics
from . import model_selection as model_selection
from . import neighbors as neighbors
from . import neural_network as neural_network
from . import optimize as optimize
from ._core._dispatch import available_isas as available_isas
from ._core._dispatch import get_isa as get_isa
from ._core._dispatch import set_isa as set_isa
from .metrics import pairwise_distances as pairwise_distances
from .neighbors import kneighbors as kneighbors
from .neighbors import radius_neighbors as radius_neighbors

__version__: str
