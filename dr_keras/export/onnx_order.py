"""One order and one set of names for a graph in ONNX, so that an export has the same bytes every time.

tf2onnx walks through sets: each of its runs gives the same graph in another order and under other names.
"""

import itertools

import onnx


def in_one_order(model):
    """Returns an `onnx.ModelProto` of the same graph whose bytes don't depend on order and names in `model`.

    Names of inputs and outputs stay. Equal constants become one.
    """
    scope = _Scope(model.graph, None)
    graph = scope.ordered()
    graph.name = model.graph.name
    graph.initializer.extend(scope.constants.values())
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


class _Scope:
    """A graph that is put in order, and the scope of the graph around it, if any.

    A node comes after what it takes, beginning with what the graph's outputs take.
    """

    def __init__(self, graph, outer):
        self._graph, self._outer = graph, outer
        self._made = {name: node for node in graph.node for name in node.output if name}
        self._given = {tensor.name: tensor for tensor in graph.initializer}
        self._numbers = outer._numbers if outer else itertools.count()
        self.constants = outer.constants if outer else {}  # content -> tensor
        kept = [] if outer else [value.name for value in [*graph.input, *graph.output]]
        self._kept = set(kept)
        self._names = {value.name: self._new(value.name) for value in graph.input}
        self._nodes = []

    def ordered(self):
        """The graph in order, without its constants, which the outermost graph has."""
        graph = onnx.GraphProto(name="graph")
        graph.input.extend(self._renamed(value, self._names[value.name]) for value in self._graph.input)
        for value in self._graph.output:
            name = self._name(value.name)
            if value.name not in self._made:  # a graph may only return what its own nodes make
                given, name = name, self._new(value.name)
                self._nodes.append(onnx.helper.make_node("Identity", [given], [name]))
            graph.output.append(self._renamed(value, name))
        graph.node.extend(self._nodes)
        return graph

    def _name(self, name):
        """The new name of a value, in whatever graph it is, after what makes it has been put in order."""
        waiting = [name]
        while waiting:
            node = self._made.get(waiting[-1])
            if node is None or waiting[-1] in self._names:
                waiting.pop()
                continue
            missing = (each for each in node.input if each in self._made and each not in self._names)
            first = next(missing, None)
            if first is None:
                self._add(node)
            else:
                waiting.append(first)
        if not name or name in self._names:
            return self._names.get(name, "")
        return self._constant(name) if name in self._given else self._outer._name(name)

    def _add(self, node):
        inputs = [self._name(name) for name in node.input]
        attributes = [self._attribute(one) for one in sorted(node.attribute, key=lambda one: one.name)]
        self._names |= {name: self._new(name) for name in node.output if name}
        outputs = [self._names.get(name, "") for name in node.output]
        added = onnx.NodeProto(op_type=node.op_type, domain=node.domain, input=inputs, output=outputs)
        added.attribute.extend(attributes)
        self._nodes.append(added)

    def _attribute(self, attribute):
        copied = onnx.AttributeProto()
        copied.CopyFrom(attribute)
        if attribute.type == onnx.AttributeProto.GRAPH:
            copied.g.CopyFrom(_Scope(attribute.g, self).ordered())
        if attribute.type == onnx.AttributeProto.TENSOR:
            copied.t.name = ""
        return copied

    def _constant(self, name):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(self._given[name])
        tensor.name = ""
        content = tensor.SerializeToString(deterministic=True)
        if content not in self.constants:
            tensor.name = f"constant{len(self.constants)}"
            self.constants[content] = tensor
        return self.constants[content].name

    def _new(self, name):
        return name if name in self._kept else f"value{next(self._numbers)}"

    def _renamed(self, value, name):
        renamed = onnx.ValueInfoProto()
        renamed.CopyFrom(value)
        renamed.name, renamed.doc_string = name, ""
        for length in renamed.type.tensor_type.shape.dim:
            if length.dim_param:  # the name of an unknown length
                length.Clear()
        return renamed
