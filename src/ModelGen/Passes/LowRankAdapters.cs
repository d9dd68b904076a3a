using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Programs;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// Adds low-rank adapters (Hu et al. 2021, equation 3): a product of rows x with an adapted weight W becomes xWᵀ + s·xAᵀBᵀ, wherever in the graph it is. Guarantees: the same
/// values where B is zero. Where a graph has adapters, nothing else of it is trained.
/// </summary>
internal static class LowRankAdapters
{
    private const string Suffix = ".weight";

    /// <summary>The graphs with the adapters that are asked for; those that train drop elements of what adapters read.</summary>
    /// <param name="graphs">The forward graphs of the entry points, as they were built.</param>
    /// <param name="lora">The adapters.</param>
    /// <param name="entries">The entry points.</param>
    public static ModelGraph[] Add(IReadOnlyList<ModelGraph> graphs, LoraSpec lora, IReadOnlyList<EntryPoint> entries)
    {
        var adapted = new HashSet<string>(Candidates(graphs, out _).Where(weight => Fits(weight, lora)).Select(weight => weight.ParameterName));
        return [.. graphs.Select((graph, i) => Add(graph, adapted, lora, entries[i].Trains ? lora.Dropout : 0))];
    }

    /// <summary>The weights that can take an adapter: matrices that nothing reads but linear layers, in recurrences too.</summary>
    /// <param name="graphs">The forward graphs of the entry points.</param>
    /// <param name="repeated">The names of those that a recurrence reads.</param>
    public static IReadOnlyList<Parameter> Candidates(IReadOnlyList<ModelGraph> graphs, out IReadOnlyCollection<string> repeated)
    {
        var found = new Dictionary<string, Parameter>();
        var others = new HashSet<string>();
        var inScans = new HashSet<string>();
        foreach (ModelGraph graph in graphs)
        {
            others.UnionWith(graph.Results.Select(result => result.Op).OfType<Parameter>().Select(parameter => parameter.ParameterName));
            foreach (Node node in graph.Nodes)
            {
                for (int i = 0; i < node.Inputs.Count; i++)
                {
                    if (node.Inputs[i].Op is not Parameter { IsTable: false, Shape.Rank: 2 } weight)
                    {
                        continue;
                    }

                    bool isInScan = IsLinearIn(node, i);
                    if (isInScan)
                    {
                        inScans.Add(weight.ParameterName);
                    }

                    if (isInScan || IsLinear(node.Op, i))
                    {
                        found[weight.ParameterName] = weight;
                    }
                    else
                    {
                        others.Add(weight.ParameterName);
                    }
                }
            }
        }

        repeated = inScans;
        return [.. found.Values.Where(weight => !others.Contains(weight.ParameterName))];
    }

    /// <summary>Whether a weight is one of those that are asked for.</summary>
    public static bool Fits(Parameter weight, LoraSpec lora) => lora.On.Any(pattern => Fits(weight, pattern));

    /// <summary>Whether a weight is a pattern's, by its name with or without what ends it.</summary>
    public static bool Fits(Parameter weight, string pattern)
        => WeightFormats.Fits(weight.ParameterName, pattern) || WeightFormats.Fits(Module(weight.ParameterName), pattern);

    /// <summary>The parameters that a step over a graph trains: its adapters, or all where it has none.</summary>
    public static IEnumerable<Parameter> Trained(ModelGraph graph)
    {
        Parameter[] parameters = [.. graph.NodesOf<Parameter>().Select(node => (Parameter)node.Op).Where(parameter => !parameter.IsTable)];
        return parameters.Any(parameter => parameter.Adapts is not null) ? parameters.Where(parameter => parameter.Adapts is not null) : parameters;
    }

    /// <summary>What files record of the adapters; a file of the model that they adapt records nothing of them, and fits.</summary>
    public static IEnumerable<FileOption> Options(LoraSpec lora)
        => [FileOption.Of("Lora.Rank", lora.Rank), FileOption.Of("Lora.Alpha", lora.Alpha), FileOption.Of("Lora.Dropout", lora.Dropout) with { TrainingOnly = true }];

    private static ModelGraph Add(ModelGraph graph, HashSet<string> adapted, LoraSpec lora, double dropout)
        => GraphRewriter.Rewrite(graph, (builder, node, inputs) =>
        {
            Parameter[] weights = [.. node.Inputs.Select(input => input.Op).OfType<Parameter>().Where(parameter => adapted.Contains(parameter.ParameterName))];
            return weights.Length == 0 ? null : node.Op switch
            {
                MatMul => [Adapt(builder, node, inputs[0], inputs[1], Factor(builder, weights[0], lora, first: true), Factor(builder, weights[0], lora, first: false), lora, dropout)],
                Scan scan => Adapt(builder, node, scan, inputs, weights, lora, s => s),
                ScanOverLengths scan => Adapt(builder, node, scan.Of, inputs, weights, lora, s => new ScanOverLengths(s)),
                _ => null,
            };
        });

    /// <summary>A linear layer's product and its update.</summary>
    private static Value Adapt(GraphBuilder b, Node product, Value x, Value weight, Value first, Value second, LoraSpec lora, double dropout)
    {
        string name = product.Name;
        Value plain = b.Add(product.Op, name + ".frozen", x, weight);
        Value read = dropout > 0 ? b.Add(new Dropout(dropout, (int)(StableHash.Of(name + ".lora_dropout") & int.MaxValue)), name + ".lora_dropout", x) : x;
        Value narrow = b.Add(new MatMul(MatMulForm.NT), name + ".lora_A", read, first);
        if (lora.Scale != 1)
        {
            narrow = b.Add(new Affine(lora.Scale, 0), name + ".lora_scale", narrow);
        }

        return b.Add(new Add(), name, plain, b.Add(new MatMul(MatMulForm.NT), name + ".lora_B", narrow, second));
    }

    /// <summary>A recurrence whose body has adapters: their factors are further invariants.</summary>
    private static Value[] Adapt(GraphBuilder b, Node node, Scan scan, IReadOnlyList<Value> inputs, Parameter[] weights, LoraSpec lora, Func<Scan, Operator> whole)
    {
        int taken = scan.Carries + scan.Sequences, behind = node.Inputs.Count - (scan.Equals(node.Op) ? 0 : 1);
        var factors = new List<Value>();
        var numbers = new Dictionary<int, int>();
        foreach (Parameter weight in weights)
        {
            foreach (int input in Enumerable.Range(taken, behind - taken).Where(i => weight.Equals(node.Inputs[i].Op)))
            {
                numbers[input - taken] = behind - taken + factors.Count;
                factors.AddRange([Factor(b, weight, lora, first: true), Factor(b, weight, lora, first: false)]);
            }
        }

        ModelGraph body = GraphRewriter.Rewrite(scan.Body, (inner, step, operands) =>
        {
            if (step.Op is not MatMul || step.Inputs[1].Op is not BodyInput { Kind: BodyInputKind.Invariant } invariant || !numbers.TryGetValue(invariant.Number, out int number))
            {
                return null;
            }

            Value[] pair = [.. Enumerable.Range(0, 2).Select(i => inner.Add(new BodyInput(BodyInputKind.Invariant, number + i, factors[number + i - (behind - taken)].Type), factors[number + i - (behind - taken)].Name))];
            return [Adapt(inner, step, operands[0], operands[1], pair[0], pair[1], lora, dropout: 0)];
        });
        return b.AddMany(whole(scan with { Body = body }), node.Name, [.. inputs.Take(behind), .. factors, .. inputs.Skip(behind)]);
    }

    private static Value Factor(GraphBuilder b, Parameter weight, LoraSpec lora, bool first)
    {
        string name = $"{Module(weight.ParameterName)}.{(first ? "lora_A" : "lora_B")}{Suffix}";
        int columns = weight.Shape[1].Maximum;

        // The paper leaves the deviation open: this one makes Ax as large as an element of x.
        Initializer initializer = first ? Initializer.Normal(1 / Math.Sqrt(columns)) : Initializer.Zeros;
        Shape shape = first ? Shape.Of(lora.Rank, columns) : Shape.Of(weight.Shape[0], lora.Rank);
        return b.Add(new Parameter(name, shape, initializer, WeightDecay: true, TransposedInFile: false) { Adapts = weight.ParameterName }, name);
    }

    private static bool IsLinear(Operator op, int input) => op is MatMul { Form: MatMulForm.NT } && input == 1;

    /// <summary>Whether an input of a recurrence is read by nothing but linear layers of its body.</summary>
    private static bool IsLinearIn(Node node, int input)
    {
        Scan? scan = node.Op switch { Scan plain => plain, ScanOverLengths padded => padded.Of, _ => null };
        if (scan is null || input < scan.Carries + scan.Sequences)
        {
            return false;
        }

        int number = input - scan.Carries - scan.Sequences;
        bool IsIt(Value value) => value.Op is BodyInput { Kind: BodyInputKind.Invariant } leaf && leaf.Number == number;
        (Node Reader, int Input)[] readers = [.. scan.Body.Nodes.SelectMany(reader => reader.Inputs.Select((value, i) => (value, i)).Where(p => IsIt(p.value)).Select(p => (reader, p.i)))];
        return readers.Length > 0 && readers.All(r => IsLinear(r.Reader.Op, r.Input)) && !scan.Body.Results.Any(IsIt);
    }

    private static string Module(string name) => name.EndsWith(Suffix, StringComparison.Ordinal) ? name.Substring(0, name.Length - Suffix.Length) : name;
}
