"""The network on graphs with a memory that lasts over the episodes of a trial, for learners like RL^2.

Encoders and decoder are those of ``graph_policy``. The decoder also reads the last reward and whether an episode ended,
and where an episode begins the state of its new graph is added to what is remembered, instead of replacing it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kshot.learning.actor_critic import RecurrentNetwork
from kshot.learning.distributions import Distribution
from kshot.learning.graph_encoders import affine, encode, initial, lstm_step, matched
from kshot.learning.graph_policy import SHRINK, NetworkSettings, attended, decoded, decoder_shapes, embedded
from kshot.learning.networks import torch_generator
from kshot.types.graphs import GraphSpec


class GraphActorCritic(RecurrentNetwork):
    """``kshot.learning.actor_critic.RecurrentNetwork`` over observations that hold a graph.

    Inputs are those of ``recurrent_policy.RecurrentPolicy``; the critic also sees how much of the trial is left.
    """

    def __init__(self, spec: GraphSpec, settings: NetworkSettings, seed: int) -> None:
        super().__init__()
        self._layout, width, hidden = spec.layout, settings.width, settings.decoder
        self.state_size = 2 * hidden
        self._design = matched(settings.graph_encoder, settings.hops, spec.layout.features, width)
        shapes = self._design.shapes() | decoder_shapes(width, hidden, spec.action_dim, more=2)
        shapes |= {"weight_critic": (hidden + width + 1, hidden), "bias_critic": (hidden,), "weight_value": (hidden, 1)}
        params = initial(shapes, torch_generator(seed))
        params["weight_1"] *= SHRINK
        self.params = nn.ParameterDict(params)

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        layout, params = self._layout, dict(self.params.items())
        obs, outcome = inputs[..., : layout.size], inputs[..., -2:]
        step = (obs[..., 0] * layout.nodes).nan_to_num().round().long().clamp(0, layout.nodes - 1)
        # A graph stays the same during an episode: it is read where one begins, and at the first of these inputs.
        begins = step == 0
        read = begins.clone()
        read[:, 0] = True
        which = read.flatten().cumsum(0).reshape(read.shape) - 1
        graph = decoded(layout, obs[read].unsqueeze(0))
        nodes, whole = encode(self._design, params, graph)
        first = torch.tanh(affine(params, "start", whole))[0][which] * begins.unsqueeze(-1)  # [B, L, H]
        nodes, exists = nodes[0][which], graph.exists[0][which]  # [B, L, N, width], [B, L, N]
        current = nodes.gather(2, step[..., None, None].expand(-1, -1, 1, nodes.shape[-1])).squeeze(2)
        decisions = nn.functional.pad(obs[..., layout.decisions], (1, 0))
        last = decisions.gather(-1, step.unsqueeze(-1)).squeeze(-1)
        entering = affine(params, "input", torch.cat([current, embedded(last), outcome], dim=-1))
        hidden, cell = state.chunk(2, dim=-1)
        states = []
        for now, added in zip(entering.unbind(dim=1), first.unbind(dim=1), strict=True):
            hidden, cell = lstm_step(now + affine(params, "recurrent", hidden + added), cell + added)
            states.append(hidden)
        both = torch.stack(states, dim=1)
        context = attended(params, both.unsqueeze(2), nodes, exists).squeeze(2)
        features = torch.cat([both, context], dim=-1)
        return (affine(params, "1", features),), features, torch.cat([hidden, cell], dim=-1)

    def value(self, features: Tensor, left: Tensor) -> Tensor:
        params = dict(self.params.items())
        seen = torch.tanh(affine(params, "critic", torch.cat([features, left.unsqueeze(-1)], dim=-1)))
        return affine(params, "value", seen).squeeze(-1)
