using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Families;

/// <summary>
/// The cells of recurrent families, and layers of them over time. Equations, gate orders and parameter names are PyTorch's: h' = tanh(Wx + Uh + b)
/// of Elman (1990); the LSTM of Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000), gates i, f, g, o; the GRU of Cho et al. (2014)
/// with the reset gate after the product, gates r, z, n.
/// </summary>
internal static class RecurrentCells
{
    /// <summary>The gates of a cell, each as wide as the layer.</summary>
    public static int Gates(this Cell cell) => cell switch { Cell.Rnn => 1, Cell.Gru => 3, _ => 4 };

    /// <summary>What a cell carries from step to step; its output is the first.</summary>
    public static string[] States(this Cell cell) => cell == Cell.Lstm ? ["h", "c"] : ["h"];

    /// <summary>What PyTorch appends to the parameter names of a layer.</summary>
    public static string Suffix(int layer, bool reverse = false) => "_l" + layer.ToString(CultureInfo.InvariantCulture) + (reverse ? "_reverse" : "");

    /// <summary>A layer's parameters: <c>weight_ih</c>, <c>weight_hh</c>, <c>bias_ih</c>, <c>bias_hh</c>.</summary>
    public static Value[] CellParameters(this GraphBuilder b, string name, string suffix, Cell cell, int inputs, int hidden, Initializer initializer)
    {
        int gates = cell.Gates() * hidden;
        return
        [
            b.Parameter($"{name}.weight_ih{suffix}", Shape.Of(gates, inputs), initializer),
            b.Parameter($"{name}.weight_hh{suffix}", Shape.Of(gates, hidden), initializer),
            b.Parameter($"{name}.bias_ih{suffix}", Shape.Of(gates), initializer),
            b.Parameter($"{name}.bias_hh{suffix}", Shape.Of(gates), initializer),
        ];
    }

    /// <summary>One step of a cell.</summary>
    /// <param name="b">The graph, which may be a scan's body.</param>
    /// <param name="cell">The cell.</param>
    /// <param name="x">The input [B, inputs].</param>
    /// <param name="state">What the cell carries, [B, hidden] each.</param>
    /// <param name="weights">The parameters, in the order of <see cref="CellParameters"/>.</param>
    /// <returns>What it carries to the next step.</returns>
    public static Value[] CellStep(this GraphBuilder b, Cell cell, Value x, IReadOnlyList<Value> state, IReadOnlyList<Value> weights)
        => b.CellStep(cell, b.InputGates(x, weights[0], weights[2]), state, weights[1], weights[3]);

    /// <summary>What a step's input gives to the gates.</summary>
    public static Value InputGates(this GraphBuilder b, Value x, Value weight, Value bias)
        => b.Add(new Add(), "input_gates", b.Add(new MatMul(MatMulForm.NT), "input_product", x, weight), bias);

    /// <summary>One step of a cell, of what its input gives to the gates.</summary>
    public static Value[] CellStep(this GraphBuilder b, Cell cell, Value fromInput, IReadOnlyList<Value> state, Value weight, Value bias)
    {
        Value h = state[0];
        int hidden = h.Shape[-1].Maximum;
        Value fromHidden = b.Add(new Add(), "hidden_gates", b.Add(new MatMul(MatMulForm.NT), "hidden_product", h, weight), bias);
        Value Part(Value gates, int index, string name) => b.Add(new SliceColumns(index * hidden, hidden), name, gates);
        switch (cell)
        {
            case Cell.Rnn:
                return [b.Add(new Tanh(), "h", b.Add(new Add(), "gates", fromInput, fromHidden))];
            case Cell.Lstm:
                Value all = b.Add(new Add(), "gates", fromInput, fromHidden);
                Value kept = b.Add(new Multiply(), "kept", b.Add(new Sigmoid(), "f", Part(all, 1, "gates.f")), state[1]);
                Value added = b.Add(new Multiply(), "added", b.Add(new Sigmoid(), "i", Part(all, 0, "gates.i")), b.Add(new Tanh(), "g", Part(all, 2, "gates.g")));
                Value c = b.Add(new Add(), "c", kept, added);
                Value output = b.Add(new Sigmoid(), "o", Part(all, 3, "gates.o"));
                return [b.Add(new Multiply(), "h", output, b.Add(new Tanh(), "c.tanh", c)), c];
            default:
                Value Sum(int index, string name) => b.Add(new Add(), "gates." + name, Part(fromInput, index, "input_gates." + name), Part(fromHidden, index, "hidden_gates." + name));
                Value reset = b.Add(new Sigmoid(), "r", Sum(0, "r"));
                Value update = b.Add(new Sigmoid(), "z", Sum(1, "z"));
                Value candidate = b.Add(new Tanh(), "n", b.Add(new Add(), "gates.n", Part(fromInput, 2, "input_gates.n"), b.Add(new Multiply(), "reset_gates.n", reset, Part(fromHidden, 2, "hidden_gates.n"))));
                return [b.Add(new Add(), "h", candidate, b.Add(new Multiply(), "h.kept", update, b.Add(new Subtract(), "h.change", h, candidate)))];
        }
    }

    /// <summary>A layer of cells over time, with parameters of its own.</summary>
    /// <param name="b">The graph.</param>
    /// <param name="name">What stands before the parameters' names.</param>
    /// <param name="suffix">What stands behind them, as <see cref="Suffix"/> says it.</param>
    /// <param name="cell">The cell.</param>
    /// <param name="x">The inputs, time-major [T, B, inputs].</param>
    /// <param name="initial">What the cell carries into the first step, [B, hidden] each.</param>
    /// <param name="initializer">How the parameters are drawn.</param>
    /// <param name="reverse">Whether time runs backwards.</param>
    /// <param name="lengths">The steps that each row of a padded batch has, i32 [B]; null where all have all.</param>
    public static RecurrentLayer Recurrent(this GraphBuilder b, string name, string suffix, Cell cell, Value x, IReadOnlyList<Value> initial, Initializer initializer, bool reverse = false, Value? lengths = null)
    {
        string layer = $"{name}.{suffix.Substring(1)}";
        Value[] weights = b.CellParameters(name, suffix, cell, x.Shape[-1].Maximum, initial[0].Shape[-1].Maximum, initializer);
        var step = new GraphBuilder();
        using (step.Scope(layer))
        {
            Value input = step.Add(new BodyInput(BodyInputKind.Sequence, 0, x.Type with { Shape = x.Shape.DropFirst() }), "x");
            string[] states = cell.States();
            Value[] carried = [.. states.Select((state, i) => step.Add(new BodyInput(BodyInputKind.Carry, i, initial[i].Type), state))];
            Value[] w = [.. weights.Select((weight, i) => step.Add(new BodyInput(BodyInputKind.Invariant, i, weight.Type), weight.Name))];
            Value[] next = step.CellStep(cell, input, carried, w);
            for (int i = 0; i < next.Length; i++)
            {
                step.Output(states[i], next[i]);
            }
        }

        var scan = new Scan(step.Build(), x.Shape[0], reverse, initial.Count, Sequences: 1);
        Value[] inputs = [.. initial, x, .. weights];
        Value[] results = lengths is { } given ? b.AddMany(new ScanOverLengths(scan), layer, [.. inputs, given]) : b.AddMany(scan, layer, inputs);
        return new RecurrentLayer(results[Scan.After(0)], [.. initial.Select((_, i) => results[Scan.Final(i)])]);
    }
}

/// <summary>What a layer of cells over time gives.</summary>
/// <param name="Outputs">Its outputs, time-major [T, B, hidden].</param>
/// <param name="Final">What it carries after the last step, [B, hidden] each.</param>
internal sealed record RecurrentLayer(Value Outputs, Value[] Final);
