"""ST-GCN++: ST-GCN with learned graphs, an inner residual and six branches over time.

Duan et al., "PYSKL: Towards Good Practices for Skeleton Action Recognition" (ACM MM 2022).
"""

from __future__ import annotations

from torch import Tensor, nn

from aclnet.models.blocks import Pointwise, make_down
from aclnet.models.graphs import spatial
from aclnet.models.stages import TenStages
from aclnet.models.stgcn import mix_subsets
from aclnet.models.temporal import MultiBranchTCN


class GraphConv(nn.Module):
    """Graph convolution over K learned graphs, with a residual."""

    def __init__(self, in_channels: int, out_channels: int, graph: Tensor) -> None:
        super().__init__()
        self.A = nn.Parameter(graph.clone())
        self.conv = Pointwise(in_channels, len(graph) * out_channels)
        self.bn = nn.BatchNorm2d(out_channels)
        self.down = make_down(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn(mix_subsets(self.conv(x), self.A))
        return y.add_(self.down(x)).relu_()


class STGCNPlusPlus(TenStages):
    """ST-GCN++."""

    norm_by_person = False
    graph = staticmethod(spatial)
    spatial = GraphConv
    temporal = MultiBranchTCN
