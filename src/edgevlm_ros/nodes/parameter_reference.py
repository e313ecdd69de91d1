# SPDX-License-Identifier: Apache-2.0
"""Every parameter of every node, as people read it and as ROS does: docs/parameters.md and config/edgevlm.yaml.

Both are written from the tables that the nodes declare, so that they cannot tell anything else:
`python -m edgevlm_ros.nodes.parameter_reference` in a source checkout. A test fails while they differ.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap

from rcl_interfaces.msg import ParameterType

from edgevlm_ros.assets import share_dir
from edgevlm_ros.nodes import bag_player_node, bridge_parameters, edge_parameters, recorder_node
from edgevlm_ros.nodes.parameters import Parameter, Value

CONFIGURED: Mapping[str, Sequence[Parameter]] = {
    "edge_node": edge_parameters.PARAMETERS,
    "cloud_bridge_node": bridge_parameters.PARAMETERS,
}
"""Tables of the nodes of a robot, which config/edgevlm.yaml is for."""

NODES: Mapping[str, Sequence[Parameter]] = {
    **CONFIGURED,
    "bag_player_node": bag_player_node.PARAMETERS,
    "recorder_node": recorder_node.PARAMETERS,
}

TYPES = {
    ParameterType.PARAMETER_BOOL: "bool",
    ParameterType.PARAMETER_INTEGER: "integer",
    ParameterType.PARAMETER_DOUBLE: "double",
    ParameterType.PARAMETER_STRING: "string",
    ParameterType.PARAMETER_STRING_ARRAY: "string array",
}

_WIDTH = 120

_YAML_HEAD = """\
# Every parameter of the edge node and the cloud bridge with its default. Copy it, change it, give it as params_file.
# 'live' ones change while the node runs: ros2 param set /edge_node focus.mode crop
# Written by `python -m edgevlm_ros.nodes.parameter_reference` from the tables in the nodes.

/**:
"""

_MARKDOWN_HEAD = """\
# Parameters

Written by `python -m edgevlm_ros.nodes.parameter_reference` from the tables in the nodes; a test keeps it true.

Those marked *live* change while the node runs: `ros2 param set /edge_node focus.mode crop`. The others are taken when
the node is configured, and refuse with that reason until `ros2 lifecycle set /edge_node cleanup`. A value that is not
allowed and a key that no parameter of the node has end the start, the latter with the nearest name. `use_sim_time` and
`qos_overrides.*` are ROS's own, of every node.

`config/edgevlm.yaml` holds those of the first two nodes to be copied, `config/models/` and `config/clouds/` what one
model or one cloud needs and nothing else.

```yaml
/**:                  # in any namespace
  edge_node:          # one such section for each node
    ros__parameters:
      focus:
        mode: crop    # focus.mode
```
"""


def yaml_text() -> str:
    """config/edgevlm.yaml."""
    return _YAML_HEAD + "".join(f"{line}\n" for line in _yaml_lines())


def _yaml_lines() -> Iterator[str]:
    for node, table in CONFIGURED.items():
        yield f"  {node}:"
        yield "    ros__parameters:"
        group = ""
        for parameter in table:
            path, _, name = parameter.name.rpartition(".")
            if path != group and path:
                yield f"      {path}:"
            group = path
            indent = "        " if path else "      "
            yield from wrap(_comment(parameter), _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
            yield f"{indent}{name}: {_yaml_value(parameter.default)}"


def _comment(parameter: Parameter) -> str:
    allowed = f" ({parameter.range.removeprefix('one of ')})" if parameter.range else ""
    return f"{parameter.description.rstrip('.')}{allowed}{'; live' if parameter.live else ''}"


def _yaml_value(value: Value) -> str:
    """A flow scalar or list; JSON is YAML, and its strings are quoted whatever they say."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def markdown_text() -> str:
    """docs/parameters.md."""
    return _MARKDOWN_HEAD + "".join(f"{line}\n" for line in _markdown_lines())


def _markdown_lines() -> Iterator[str]:
    for node, table in NODES.items():
        yield f"\n## {node}\n"
        yield "| name | type | default | allowed | live | |"
        yield "|---|---|---|---|---|---|"
        for parameter in table:
            default = f"`{_yaml_value(parameter.default)}`"
            cells = (f"`{parameter.name}`", TYPES[parameter.type], default, parameter.range)
            words = [*cells, "live" if parameter.live else "", parameter.description]
            yield f"| {' | '.join(word.replace('|', chr(92) + '|') for word in words)} |"


def files() -> dict[Path, str]:
    """What is to be where in a source checkout."""
    return {
        share_dir() / "config" / "edgevlm.yaml": yaml_text(),
        share_dir() / "docs" / "parameters.md": markdown_text(),
    }


def main() -> None:
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
