using ModelGen.Compiler;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;

namespace ModelGen.Tests.Compiler;

/// <summary>What one run of a graph is given.</summary>
internal sealed record RunArguments
{
    public Dictionary<string, Tensor> Parameters { get; init; } = [];

    public Dictionary<string, Tensor> Inputs { get; init; } = [];

    /// <summary>What states hold before the run; one that is not here is zero.</summary>
    public Dictionary<string, Tensor> State { get; init; } = [];

    /// <summary>The value of the extents that models have.</summary>
    public int Batch { get; init; } = 1;

    public int Time { get; init; } = 1;

    /// <summary>The value of other extents.</summary>
    public IReadOnlyDictionary<string, int> Counts { get; init; } = new Dictionary<string, int>();

    public int Resolve(Dim dim) => dim.IsLiteral ? dim.Maximum : CountOf(dim.Symbol!) + dim.Plus;

    public int CountOf(string symbol) => Counts.TryGetValue(symbol, out int count) ? count : symbol switch
    {
        ExtentNames.Batch => Batch,
        ExtentNames.Time => Time,
        _ => throw new InvalidOperationException($"The extent {symbol} was not given."),
    };

    /// <summary>The time steps that caches hold already.</summary>
    public int Position { get; init; }

    /// <summary>What the rows of caches are rounded to when they are written.</summary>
    public ModelGen.Compiler.CacheFormat Cache { get; init; }

    public ulong Seed { get; init; }

    public double LossNormalizer { get; init; } = 1;

    public double GradientScale { get; init; } = 1;

    public double Scalar(RuntimeScalarKind kind) => kind switch
    {
        RuntimeScalarKind.LossNormalizer => LossNormalizer,
        RuntimeScalarKind.GradientScale => GradientScale,
        _ => throw new NotSupportedException($"runtime scalar {kind}"),
    };
}

/// <summary>What one run of a graph gives.</summary>
internal sealed class RunResults
{
    public Dictionary<string, Tensor> Outputs { get; } = [];

    /// <summary>What every state that the graph changes holds after the run.</summary>
    public Dictionary<string, Tensor> State { get; } = [];

    /// <summary>The contributions to each parameter's gradient, added up.</summary>
    public Dictionary<string, Tensor> Gradients { get; } = [];

    /// <summary>Every value of the graph, those of scan bodies excepted.</summary>
    public Dictionary<Value, Tensor> Values { get; } = [];
}

/// <summary>
/// Runs any graph in double precision, one operator after the other, each written down from its definition: no operator is
/// expanded, fused or reordered. What the compiler makes of a graph is compared with this.
/// </summary>
internal sealed class ReferenceInterpreter
{
    private readonly ModelGraph _graph;
    private readonly RunArguments _run;
    private readonly Func<BodyInput, Tensor>? _bodyInputs;
    private readonly Dictionary<Value, Tensor> _values = [];
    private readonly Dictionary<string, Tensor> _appended = [];
    private readonly IReadOnlyDictionary<string, StorageFormat> _rounded;

    private ReferenceInterpreter(ModelGraph graph, RunArguments run, Func<BodyInput, Tensor>? bodyInputs)
    {
        _graph = graph;
        _run = run;
        _bodyInputs = bodyInputs;
        _rounded = CacheFormats.Of([graph], run.Cache);
    }

    // What a state holds is what was stored in it.
    private Tensor Stored(string state, Tensor rows)
    {
        if (_rounded.ContainsKey(state))
        {
            for (int at = 0; at < rows.Data.Length; at += rows.Columns)
            {
                RoundRow(_run.Cache, rows.Data.AsSpan(at, rows.Columns));
            }
        }

        return rows;
    }

    private static void RoundRow(ModelGen.Compiler.CacheFormat format, Span<double> row)
    {
        for (int block = 0; block < row.Length; block += format == ModelGen.Compiler.CacheFormat.Q8_0 ? 32 : 1)
        {
            if (format == ModelGen.Compiler.CacheFormat.F16)
            {
                row[block] = (double)(Half)(float)row[block];
                continue;
            }

            Span<double> numbers = row.Slice(block, 32);
            float most = 0;
            foreach (double number in numbers)
            {
                most = Math.Max(most, Math.Abs((float)number));
            }

            (float scale, float factor) = most == 0 ? (0, 0) : (most / 127, 127 / most);
            foreach (ref double number in numbers)
            {
                number = MathF.Round((float)number * factor, MidpointRounding.ToEven) * scale;
            }
        }
    }

    public static RunResults Run(ModelGraph graph, RunArguments run)
    {
        var interpreter = new ReferenceInterpreter(graph, run, null);
        interpreter.EvaluateAll();
        var results = new RunResults();
        foreach ((Value value, Tensor tensor) in interpreter._values)
        {
            results.Values.Add(value, tensor);
        }

        foreach (GraphOutput output in graph.Outputs)
        {
            results.Outputs.Add(output.Name, interpreter._values[output.Value]);
        }

        foreach ((string state, Tensor tensor) in interpreter._appended)
        {
            results.State[state] = tensor;
        }

        foreach (StateUpdate update in graph.StateUpdates)
        {
            results.State[update.State] = interpreter._values[update.Value];
        }

        foreach (GradientContribution gradient in graph.Gradients)
        {
            Tensor contribution = interpreter._values[gradient.Value];
            if (!results.Gradients.TryGetValue(gradient.Parameter, out Tensor? sum))
            {
                results.Gradients.Add(gradient.Parameter, sum = new Tensor(contribution.Dims));
            }

            if (!sum.Dims.SequenceEqual(contribution.Dims))
            {
                throw new InvalidOperationException($"Two contributions to the gradient of {gradient.Parameter} differ in shape: {sum} and {contribution}.");
            }

            for (int i = 0; i < sum.Data.Length; i++)
            {
                sum.Data[i] += contribution.Data[i];
            }
        }

        return results;
    }

    private void EvaluateAll()
    {
        foreach (Node node in _graph.Nodes)
        {
            Tensor[] results;
            try
            {
                results = Evaluate(node, [.. node.Inputs.Select(i => _values[i])]);
            }
            catch (Exception e) when (e is ArgumentException or IndexOutOfRangeException or OverflowException)
            {
                throw new InvalidOperationException($"{node} cannot be evaluated: {e.Message}", e);
            }

            for (int i = 0; i < results.Length; i++)
            {
                int[] declared = Resolve(node.Outputs[i].Shape);
                if (!results[i].Dims.SequenceEqual(declared))
                {
                    throw new InvalidOperationException($"{node} gives [{string.Join(", ", results[i].Dims)}] and declares {node.Outputs[i]}.");
                }

                _values[new Value(node, i)] = results[i];
            }
        }
    }

    private int Resolve(Dim dim) => _run.Resolve(dim);

    private int[] Resolve(Shape shape) => [.. shape.Dims.Select(Resolve)];

    private Tensor[] Evaluate(Node node, Tensor[] inputs)
    {
        Operator op = node.Op;
        switch (op)
        {
            case Parameter parameter:
                return [Given(_run.Parameters, "parameter", parameter.ParameterName)];
            case Input input:
                return [Given(_run.Inputs, "input", input.InputName)];
            case StateRead state:
                return [_run.State.TryGetValue(state.State, out Tensor? held) ? Stored(state.State, held.Clone()) : new Tensor(Resolve(state.Shape))];
            case SequenceStates states:
                return [_run.State.TryGetValue(states.State, out Tensor? all) ? Stored(states.State, all.Clone()) : new Tensor(Resolve(states.Shape))];
            case global::ModelGen.Compiler.Ops.Constant constant:
                return [Tensor.Filled(Resolve(constant.Shape), _ => constant.Value)];
            case RuntimeScalar scalar:
                return [Tensor.Scalar(_run.Scalar(scalar.Kind))];
            case BodyInput leaf:
                return [(_bodyInputs ?? throw new InvalidOperationException($"{node} is outside a scan."))(leaf)];
            case ElementwiseOperator elementwise:
                return [Elementwise(elementwise, inputs, Resolve(node.Outputs[0].Shape))];
            case RowSum:
                return [Rows(inputs[0], row => row.Sum())];
            case RowMax:
                return [Rows(inputs[0], row => row.Max())];
            case ColumnSum sum:
                return [SumTo(inputs[0], Resolve(sum.Shape))];
            case MatMul product:
                return [Product(product.Form, inputs[0], inputs[1])];
            case Embedding:
                return [Gather(inputs[0], inputs[1])];
            case EmbeddingGradient scatter:
                return [Scatter(scatter.Rows, inputs[0], inputs[1])];
            case TransposeIndices:
                int across = inputs[0].Dims[1];
                int down = inputs[0].Dims[0];
                return [Tensor.Filled([across, down], i => inputs[0][i % down, i / down])];
            case Attention attention:
                return Attend(attention, inputs);
            case AttentionSinks sinks:
                return Sink(sinks.Of, inputs[0], inputs[1], inputs[2]);
            case AttentionWeights weights:
                return [WeightsOf(weights, inputs)];
            case AttentionGradient gradient:
                return AttendBackwards(gradient.Of, inputs);
            case ScatterRows:
                return [ScatterInto(node, inputs)];
            case AppendState:
                return [Append(node, inputs)];
            case Reshape reshape:
                return [inputs[0].As(Resolve(reshape.Shape))];
            case SliceColumns slice:
                return [Columns(inputs[0], slice.Length, (row, column) => inputs[0][row, slice.Offset + column])];
            case PadColumns pad:
                return [Columns(inputs[0], pad.Columns, (row, column) => column >= pad.Offset && column < pad.Offset + inputs[0].Columns ? inputs[0][row, column - pad.Offset] : 0)];
            case ConcatColumns:
                return [Concatenate(inputs)];
            case Permute permute:
                return [Permuted(inputs[0], permute.Axes)];
            case SelectRow select:
                int height = inputs[0].Dims[^2];
                return [Tensor.Filled([.. inputs[0].Dims[..^2], inputs[0].Columns], i => inputs[0][(i / inputs[0].Columns * height) + select.Row, i % inputs[0].Columns])];
            case RowsAtPosition rows:
                return [Tensor.Filled([Resolve(rows.Time), inputs[0].Columns], i => inputs[0].Data[(_run.Position * inputs[0].Columns) + i])];
            case PadRows pad:
                int above = pad.Offset * inputs[0].Data.Length / inputs[0].Dims[0];
                return [Tensor.Filled([pad.Rows, .. inputs[0].Dims[1..]], i => i >= above && i - above < inputs[0].Data.Length ? inputs[0].Data[i - above] : 0)];
            case SliceRows slice:
                return [Tensor.Filled([slice.Length, .. inputs[0].Dims[1..]], i => inputs[0].Data[(slice.Offset * inputs[0].Data.Length / inputs[0].Dims[0]) + i])];
            case LastRow:
                return [Tensor.Filled([1, inputs[0].Columns], i => inputs[0][inputs[0].Rows - 1, i])];
            case Unsqueeze unsqueeze:
                return [inputs[0].As([.. inputs[0].Dims[..^unsqueeze.Behind], 1, .. inputs[0].Dims[^unsqueeze.Behind..]])];
            case Preceded preceded:
                return [Lengthened(inputs[0], preceded.Steps, 0, inputs.Length > 1 ? inputs[1] : null)];
            case PadSteps pad:
                return [Lengthened(inputs[0], pad.Offset, pad.Steps - pad.Offset - inputs[0].Dims[1], null)];
            case SliceSteps slice:
                return [StepsOf(inputs[0], slice.Offset, Resolve(slice.Length))];
            case LastSteps last:
                return [StepsOf(inputs[0], inputs[0].Dims[1] - last.Steps, last.Steps)];
            case CausalConvolution:
                (int time, int channels, int taps) = (inputs[0].Dims[1], inputs[0].Columns, inputs[1].Dims[0]);
                return [Columns(inputs[0], channels, (row, c) => (inputs.Length > 2 ? inputs[2].Data[c] : 0)
                    + Enumerable.Range(0, taps).Where(i => (row % time) - taps + 1 + i >= 0).Sum(i => inputs[1][i, c] * inputs[0][row - taps + 1 + i, c]))];
            case LinearRecurrence:
                return [Recurrence(inputs, null)];
            case ChunkedRecurrence recurrence:
                Tensor? kept = inputs.Length > recurrence.Tensors ? inputs[^1].Clone() : null;
                Tensor taken = Recurrence(inputs[..recurrence.Tensors], kept);
                return kept is null ? [taken] : [taken, kept];
            case Route route:
                return Routed(route.Chosen, inputs[0]);
            case ExpertMatMul product:
                return [ByExperts(product.IsTransposed, inputs[0], inputs[1], inputs[2])];
            case ExpertWeightGradient gradient:
                (int n, int m) = (inputs[0].Columns, inputs[1].Columns);
                return [Tensor.Filled([gradient.Experts, n, m], i => Enumerable.Range(0, inputs[0].Rows).Where(r => (int)inputs[2].Data[r] == i / (n * m)).Sum(r => inputs[0][r, i / m % n] * inputs[1][r, i % m]))];
            case BalanceLoss:
                double Mean(Tensor of, int expert) => Enumerable.Range(0, of.Rows).Average(r => of[r, expert]);
                return [new Tensor([1, 1], [inputs[0].Columns * Enumerable.Range(0, inputs[0].Columns).Sum(e => Mean(inputs[0], e) * Mean(inputs[1], e))])];
            case Rotary rotary:
                return [Turn(rotary, inputs[0], inputs[1])];
            case RmsNorm norm:
                double Weight(int column) => inputs.Length == 1 ? 1 : inputs[1].Data[column] + (norm.WeightIsOffset ? 1 : 0);
                return [Columns(inputs[0], inputs[0].Columns, (row, column) => inputs[0][row, column] * Weight(column)
                    / Math.Sqrt((Enumerable.Range(0, inputs[0].Columns).Sum(c => inputs[0][row, c] * inputs[0][row, c]) / inputs[0].Columns) + norm.Epsilon))];
            case LayerNorm norm:
                return [Normalize(norm.Epsilon, norm.WeightIsOffset ? [inputs[0], new Tensor(inputs[1].Dims, [.. inputs[1].Data.Select(weight => weight + 1)]), .. inputs.Skip(2)] : inputs)];
            case global::ModelGen.Compiler.Ops.Softmax:
                return [Columns(inputs[0], inputs[0].Columns, (row, column) => 1 / Enumerable.Range(0, inputs[0].Columns).Sum(c => Math.Exp(inputs[0][row, c] - inputs[0][row, column])))];
            case CrossEntropy cross:
                return [CrossEntropyOf(cross.Smoothing, inputs[0], inputs[1])];
            case SquaredError:
                return [Columns(inputs[0], 1, (row, _) => Enumerable.Range(0, inputs[0].Columns).Sum(c => 0.5 * Math.Pow(inputs[0][row, c] - inputs[1][row, c], 2)))];
            case BinaryCrossEntropy:
                return [Columns(inputs[0], 1, (row, _) => Enumerable.Range(0, inputs[0].Columns).Sum(c => BinaryCrossEntropyOf(inputs[0][row, c], inputs[1][row, c])))];
            case MeanLoss:
                return [new Tensor([1, 1], [inputs[0].Data.Sum() * _run.LossNormalizer])];
            case Scan scan:
                return Recur(scan, inputs, null);
            case ScanOverLengths scan:
                return Recur(scan.Of, inputs[..^1], inputs[^1]);
            default:
                throw new NotSupportedException($"The reference interpreter does not know {op.GetType().Name}: an operator comes with its definition here.");
        }
    }

    /// <summary>Each head's matrix, token by token: from a state, which then is as it is behind the last one, or from zero.</summary>
    private static Tensor Recurrence(Tensor[] inputs, Tensor? kept)
    {
        (int batch, int time, int groups, int width) = (inputs[1].Dims[0], inputs[1].Dims[1], inputs[1].Dims[2], inputs[1].Dims[3]);
        (int heads, int columns) = (inputs[2].Dims[2], inputs[2].Dims[3]);
        var result = new Tensor(inputs[2].Dims);
        for (int row = 0; row < batch * heads; row++)
        {
            (int b, int head) = (row / heads, row % heads);
            double[,] state = new double[width, columns];
            for (int i = 0; kept is not null && i < width * columns; i++)
            {
                state[i / columns, i % columns] = kept.Data[(row * width * columns) + i];
            }

            for (int t = 0; t < time; t++)
            {
                int step = (((b * time) + t) * heads) + head, group = (((b * time) + t) * groups) + (head * groups / heads);
                double decay = Math.Exp(inputs[3].Data[step]);
                for (int j = 0; j < columns; j++)
                {
                    double known = Enumerable.Range(0, width).Sum(i => decay * state[i, j] * inputs[1][group, i]);
                    double taken = inputs.Length > 4 ? inputs[4].Data[step] * (inputs[2][step, j] - known) : inputs[2][step, j];
                    for (int i = 0; i < width; i++)
                    {
                        state[i, j] = (decay * state[i, j]) + (inputs[1][group, i] * taken);
                        result[step, j] += state[i, j] * inputs[0][group, i];
                    }
                }
            }

            for (int i = 0; kept is not null && i < width * columns; i++)
            {
                kept.Data[(row * width * columns) + i] = state[i / columns, i % columns];
            }
        }

        return result;
    }

    private static Tensor Given(Dictionary<string, Tensor> given, string what, string name)
        => given.TryGetValue(name, out Tensor? tensor) ? tensor : throw new InvalidOperationException($"The {what} '{name}' was not given.");

    private Tensor Elementwise(ElementwiseOperator op, Tensor[] inputs, int[] dims)
    {
        // Row indices broadcast along the columns: they lie under all extents but the innermost.
        bool IsIndex(int input) => (op is SelectColumn && input == 1) || op is IsTarget or LengthMask;
        Func<int, int>[] offsets = [.. inputs.Select((t, i) => Broadcast(IsIndex(i) ? [.. t.Dims, 1] : t.Dims, dims))];
        Func<double[], int, int, double> f = ScalarFunctions.Compile(op.Express([.. inputs.Select((_, i) => (Expr)new OperandExpr(i))]), _run);
        var operands = new double[inputs.Length];
        int columns = dims.Length == 0 ? 1 : dims[^1];
        return Tensor.Filled(dims, element =>
        {
            for (int i = 0; i < operands.Length; i++)
            {
                operands[i] = inputs[i].Data[offsets[i](element)];
            }

            return f(operands, element, element % columns);
        });
    }

    /// <summary>From the index of an element of the result to that of the element of an operand that is stretched to it.</summary>
    private static Func<int, int> Broadcast(int[] from, int[] to)
    {
        var strides = new int[to.Length];
        int stride = 1;
        for (int i = 1; i <= from.Length; i++)
        {
            int extent = from[^i];
            strides[^i] = extent == 1 ? 0 : stride;
            stride *= extent;
        }

        return element =>
        {
            int offset = 0;
            for (int d = to.Length - 1; d >= 0; d--)
            {
                offset += element % to[d] * strides[d];
                element /= to[d];
            }

            return offset;
        };
    }

    private static Tensor Rows(Tensor x, Func<IEnumerable<double>, double> reduce)
        => Columns(x, 1, (row, _) => reduce(Enumerable.Range(0, x.Columns).Select(c => x[row, c])));

    /// <summary>A tensor with the rows of another and some columns.</summary>
    private static Tensor Columns(Tensor x, int columns, Func<int, int, double> element)
        => Tensor.Filled([.. x.Dims[..^1], columns], i => element(i / columns, i % columns));

    private static Tensor ByExperts(bool transposed, Tensor x, Tensor weights, Tensor experts)
    {
        int height = weights.Dims[1];
        double Weight(int row, int column, int depth) => transposed ? weights[((int)experts.Data[row] * height) + depth, column] : weights[((int)experts.Data[row] * height) + column, depth];
        return Columns(x, transposed ? weights.Dims[2] : height, (row, column) => Enumerable.Range(0, x.Columns).Sum(depth => x[row, depth] * Weight(row, column, depth)));
    }

    /// <summary>By sorting: of each row the experts by their scores, and of all that is sent by experts and rows.</summary>
    private static Tensor[] Routed(int chosen, Tensor scores)
    {
        int experts = scores.Columns;
        int[] dims = [.. scores.Dims[..^1], chosen];
        (int Row, int Expert)[] choices = [.. Enumerable.Range(0, scores.Rows).SelectMany(r => Enumerable.Range(0, experts).OrderByDescending(e => scores[r, e]).ThenBy(e => e).Take(chosen).Select(e => (r, e)))];
        int[] order = [.. Enumerable.Range(0, choices.Length).OrderBy(i => choices[i].Expert).ThenBy(i => choices[i].Row)];
        return
        [
            Tensor.Filled(dims, i => choices[order[i]].Row), Tensor.Filled(dims, i => choices[order[i]].Expert), Tensor.Filled(dims, i => Array.IndexOf(order, i)),
            Tensor.Filled(dims, i => (choices[i].Row * experts) + choices[i].Expert), Columns(scores, experts, (row, e) => choices.Contains((row, e)) ? 1 : 0),
        ];
    }

    /// <summary>A sequence [B, T, C] with steps before it, zeros where none are given, and zeros behind it.</summary>
    private static Tensor Lengthened(Tensor x, int before, int behind, Tensor? past)
    {
        int steps = x.Dims[1], all = before + steps + behind, columns = x.Columns;
        return Tensor.Filled([x.Dims[0], all, columns], i =>
        {
            (int sequence, int step, int column) = (i / columns / all, i / columns % all, i % columns);
            return step < before ? past?[(sequence * before) + step, column] ?? 0 : step < before + steps ? x[(sequence * steps) + step - before, column] : 0;
        });
    }

    private static Tensor StepsOf(Tensor x, int first, int count)
        => Tensor.Filled([x.Dims[0], count, x.Columns], i => x[(i / x.Columns / count * x.Dims[1]) + first + (i / x.Columns % count), i % x.Columns]);

    /// <summary>Every element is added to the one that it would be stretched from.</summary>
    private static Tensor SumTo(Tensor x, int[] dims)
    {
        var result = new Tensor(dims);
        Func<int, int> target = Broadcast(dims, x.Dims);
        for (int i = 0; i < x.Data.Length; i++)
        {
            result.Data[target(i)] += x.Data[i];
        }

        return result;
    }

    private static Tensor Permuted(Tensor x, IReadOnlyList<int> axes)
    {
        int[] dims = [.. axes.Select(a => x.Dims[a])];
        return Tensor.Filled(dims, element =>
        {
            var index = new int[dims.Length];
            for (int d = dims.Length - 1; d >= 0; d--)
            {
                index[axes[d]] = element % dims[d];
                element /= dims[d];
            }

            return x.Data[index.Zip(x.Dims).Aggregate(0, (offset, i) => (offset * i.Second) + i.First)];
        });
    }

    private static Tensor Product(MatMulForm form, Tensor a, Tensor b)
    {
        double Sum(int count, Func<int, double> term) => Enumerable.Range(0, count).Sum(term);
        return form switch
        {
            MatMulForm.NT => Columns(a, b.Rows, (i, j) => Sum(a.Columns, k => a[i, k] * b[j, k])),
            MatMulForm.NN => Columns(a, b.Columns, (i, j) => Sum(a.Columns, k => a[i, k] * b[k, j])),
            MatMulForm.TN => Tensor.Filled([a.Columns, b.Columns], e => Sum(a.Rows, k => a[k, e / b.Columns] * b[k, e % b.Columns])),
            _ => throw new NotSupportedException($"matrix product {form}"),
        };
    }

    private static Tensor Gather(Tensor table, Tensor indices)
        => Tensor.Filled([.. indices.Dims, table.Columns], i => table[(int)indices.Data[i / table.Columns], i % table.Columns]);

    private static Tensor Scatter(int rows, Tensor indices, Tensor cotangent)
    {
        var result = new Tensor([rows, cotangent.Columns]);
        for (int i = 0; i < indices.Data.Length; i++)
        {
            for (int c = 0; c < cotangent.Columns; c++)
            {
                result[(int)indices.Data[i], c] += cotangent[i, c];
            }
        }

        return result;
    }

    private Tensor Append(Node node, Tensor[] inputs)
    {
        var append = (AppendState)node.Op;
        (Tensor state, Tensor rows) = (inputs[0], node.Inputs[0].Op is StateRead appended ? Stored(appended.State, inputs[1].Clone()) : inputs[1]);
        Tensor result = state.Clone();
        int stateRows = state.Dims[^2], steps = rows.Dims[1];
        for (int batch = 0; batch < rows.Dims[0]; batch++)
        {
            int position = append.HasPositions ? (int)inputs[2].Data[batch] : _run.Position;
            int length = append.HasLengths ? Math.Min((int)inputs[^1].Data[batch], steps) : steps;
            for (int time = 0; time < length; time++)
            {
                if (append.IsRing || position + time < stateRows)
                {
                    int row = append.IsRing ? RingRow(position + time, stateRows, append.Kept) : position + time;
                    for (int c = 0; c < rows.Columns; c++)
                    {
                        result[(batch * stateRows) + row, c] = rows[(batch * steps) + time, c];
                    }
                }
            }
        }

        if (node.Inputs[0].Op is StateRead read)
        {
            _appended[read.State] = result;
        }

        return result;
    }

    private Tensor ScatterInto(Node node, Tensor[] inputs)
    {
        Tensor result = inputs[0].Clone(), rows = node.Inputs[0].Op is SequenceStates scattered ? Stored(scattered.State, inputs[1].Clone()) : inputs[1];
        int positions = inputs.Length == 4 ? inputs[0].Dims[1] : 1;
        for (int row = 0; row < rows.Rows; row++)
        {
            int position = inputs.Length == 4 ? (int)inputs[3].Data[row] : 0;
            position = node.Op is ScatterRows { IsRing: true } ring ? RingRow(position, positions, ring.Kept) : position;
            rows.Data.AsSpan(row * result.Columns, result.Columns).CopyTo(result.Data.AsSpan((((int)inputs[2].Data[row] * positions) + position) * result.Columns));
        }

        if (node.Inputs[0].Op is SequenceStates states)
        {
            _appended[states.State] = result;
        }

        return result;
    }

    private static Tensor Concatenate(Tensor[] parts)
    {
        int columns = parts.Sum(p => p.Columns);
        return Columns(parts[0], columns, (row, column) =>
        {
            int part = 0;
            for (; column >= parts[part].Columns; part++)
            {
                column -= parts[part].Columns;
            }

            return parts[part][row, column];
        });
    }

    /// <summary>Each pair of columns times the rotation by its angle: as a complex number, times cos + i·sin.</summary>
    private static Tensor Turn(Rotary rotary, Tensor x, Tensor angles)
    {
        Tensor result = x.Clone();
        int pairs = rotary.Rotated / 2;
        for (int row = 0; row < x.Rows; row++)
        {
            for (int head = 0; head < x.Columns / rotary.HeadWidth; head++)
            {
                for (int pair = 0; pair < pairs; pair++)
                {
                    int step = row % angles.Rows, first = head * rotary.HeadWidth;
                    (int real, int imaginary) = rotary.IsInterleaved ? (first + (2 * pair), first + (2 * pair) + 1) : (first + pair, first + pairs + pair);
                    var turned = new System.Numerics.Complex(x[row, real], x[row, imaginary]) * new System.Numerics.Complex(angles[step, pair], angles[step, pairs + pair]);
                    (result[row, real], result[row, imaginary]) = (turned.Real, turned.Imaginary);
                }
            }
        }

        return result;
    }

    private static Tensor Normalize(double epsilon, Tensor[] inputs)
    {
        Tensor x = inputs[0];
        var result = new Tensor(x.Dims);
        for (int row = 0; row < x.Rows; row++)
        {
            double mean = 0;
            for (int c = 0; c < x.Columns; c++)
            {
                mean += x[row, c] / x.Columns;
            }

            double variance = 0;
            for (int c = 0; c < x.Columns; c++)
            {
                variance += Math.Pow(x[row, c] - mean, 2) / x.Columns;
            }

            for (int c = 0; c < x.Columns; c++)
            {
                result[row, c] = ((x[row, c] - mean) / Math.Sqrt(variance + epsilon) * inputs[1].Data[c]) + (inputs.Length > 2 ? inputs[2].Data[c] : 0);
            }
        }

        return result;
    }

    /// <summary>−Σ t·log p, where t is 1 − smoothing at the target, and smoothing divided by all classes beside.</summary>
    private static Tensor CrossEntropyOf(double smoothing, Tensor logits, Tensor targets)
        => Columns(logits, 1, (row, _) =>
        {
            int target = (int)targets.Data[row];
            if (target < 0)
            {
                return 0;
            }

            double maximum = Enumerable.Range(0, logits.Columns).Max(c => logits[row, c]);
            double sum = Enumerable.Range(0, logits.Columns).Sum(c => Math.Exp(logits[row, c] - maximum));
            double Nll(int c) => -Math.Log(Math.Exp(logits[row, c] - maximum) / sum);
            return ((1 - smoothing) * Nll(target)) + (smoothing == 0 ? 0 : smoothing * Enumerable.Range(0, logits.Columns).Average(Nll));
        });

    /// <summary>−t·log σ(x) − (1 − t)·log(1 − σ(x)); 1 − σ(x) is σ(−x).</summary>
    private static double BinaryCrossEntropyOf(double x, double t)
        => (-t * Math.Log(ScalarFunctions.Sigmoid(x))) - ((1 - t) * Math.Log(ScalarFunctions.Sigmoid(-x)));

    /// <summary>The rows of the keys that a query sees, by the rules that a range states, asked of every position one by one.</summary>
    private (int Row, int Key, int Relative)[] Seen(KeyRange range, Tensor q, Tensor k, Tensor[] lengths, int batch, int time)
    {
        double Given(string name) => lengths[range.InputNames.ToList().IndexOf(name)].Data[batch];
        int rows = k.Dims[^2];
        int offset = range.HasPositions ? (int)Given("positions") : range.IsCached ? _run.Position : 0;
        double queries = range.HasQueryLengths ? Given("queryLengths") : q.Dims[1];
        double present = range.HasKeyLengths ? Given("keyLengths") : range.IsCached ? offset + queries : rows;
        int position = offset + time;
        bool Sees(int key) => key < present && time < queries && (range.IsRing || position < rows || !range.IsCached)
            && (!range.IsCausal || key <= position)
            && (range.Window is not { } window || Math.Abs(key - position) <= window || (range.Pattern is GlobalKeys global && Math.Min(key, position) < global.Count))
            && (range.Pattern is not StridedKeys strided || Math.Abs(position - key) < strided.Stride || (position - key) % strided.Stride == 0)
            && (range.Pattern is not FixedKeys block || key / block.Stride == position / block.Stride || key % block.Stride >= block.Stride - block.Summary);
        return [.. Enumerable.Range(0, Math.Max(rows, position + 1)).Where(Sees).Select(key => (((k.Dims.Length < 3 ? 0 : batch) * rows) + (range.IsRing ? RingRow(key, rows, range.Kept) : key), key, key - position))];
    }

    /// <summary>One query's head: which rows of keys it sees, where they stand, and their probabilities.</summary>
    private (int[] Rows, int[] Keys, double[] Probabilities, double LogSum) Softmax(Attention op, Tensor q, Tensor k, Tensor[] lengths, int batch, int time, int head)
    {
        int steps = q.Dims[1];
        (int Row, int Key, int Relative)[] all = Seen(op.Range, q, k, lengths, batch, time);
        int[] seen = [.. all.Select(s => s.Row)], where = [.. all.Select(s => s.Key)];
        if (seen.Length == 0)
        {
            return (seen, where, [], 0);
        }

        int keyHead = head / (op.Heads / op.KeyValueHeads);
        var scores = new double[seen.Length];
        for (int s = 0; s < seen.Length; s++)
        {
            for (int d = 0; d < op.HeadDim; d++)
            {
                scores[s] += op.Scale * q[(batch * steps) + time, (head * op.HeadDim) + d] * k[seen[s], (keyHead * op.HeadDim) + d];
            }
        }

        for (int s = 0; s < seen.Length; s++)
        {
            scores[s] += BiasOf(op, lengths.LastOrDefault(), head, all[s].Relative);
        }

        if (op.SoftCap > 0)
        {
            scores = [.. scores.Select(s => op.SoftCap * Math.Tanh(s / op.SoftCap))];
        }

        double maximum = scores.Max();
        double logSum = maximum + Math.Log(scores.Sum(s => Math.Exp(s - maximum)));
        return (seen, where, [.. scores.Select(s => Math.Exp(s - logSum))], logSum);
    }

    /// <summary>The first positions stay where they are; the others go around in the rows behind.</summary>
    private static int RingRow(int position, int rows, int kept) => position < kept ? position : kept + ((position - kept) % (rows - kept));

    /// <summary>What a score is greater by, as the papers have it.</summary>
    private static double BiasOf(Attention op, Tensor? table, int head, int relative) => op.Bias switch
    {
        AlibiBias => -SlopesOf(op.Heads)[head] * Math.Abs(relative),
        RelativeBias bias => table![BucketOf(bias, relative), head],
        _ => 0,
    };

    /// <summary>For n heads, a power of two, a geometric sequence that begins with its own ratio, 2^(−8/n).</summary>
    private static double[] SlopesOf(int heads)
    {
        int lower = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)heads + 1) / 2;
        double ratio = Math.Pow(2, -8.0 / lower);
        double[] slopes = [.. Enumerable.Range(1, lower).Select(i => Math.Pow(ratio, i))];
        return lower == heads ? slopes : [.. slopes, .. SlopesOf(2 * lower).Where((_, i) => i % 2 == 0).Take(heads - lower)];
    }

    private static int BucketOf(RelativeBias bias, int relative)
    {
        int buckets = bias.Buckets, first = 0;
        if (bias.IsBidirectional)
        {
            buckets /= 2;
            first = relative > 0 ? buckets : 0;
            relative = -Math.Abs(relative);
        }

        int distance = Math.Max(0, -relative), exact = buckets / 2;
        return first + (distance < exact ? distance
            : Math.Min(buckets - 1, exact + (int)((Math.Log((double)distance / exact) / Math.Log((double)bias.MaxDistance / exact) * (buckets - exact)) + 1e-9)));
    }

    private Tensor WeightsOf(AttentionWeights op, Tensor[] inputs)
    {
        (Tensor q, int steps, int heads) = (inputs[0], inputs[0].Dims[1], op.Of.Heads);
        if (op.Of.Range.HasSequences)
        {
            return WeightsOf(op with { Of = op.Of with { Range = op.Of.Range with { HasSequences = false } } }, [q, OfSequences(inputs[1], inputs[3]), inputs[2], .. inputs[4..]]);
        }

        var result = new Tensor([q.Dims[0], heads, steps, op.Keys]);
        for (int row = 0; row < result.Rows; row++)
        {
            int batch = row / steps / heads;
            (_, int[] where, double[] p, double logSum) = Softmax(op.Of, q, inputs[1], inputs[3..], batch, row % steps, row / steps % heads);
            double shrunk = Math.Exp(logSum - inputs[2][(batch * steps) + (row % steps), row / steps % heads]);
            for (int s = 0; s < p.Length; s++)
            {
                result[row, where[s]] = p[s] * shrunk;
            }
        }

        return result;
    }

    /// <summary>The keys or values of the sequences that a batch names.</summary>
    private static Tensor OfSequences(Tensor caches, Tensor sequences)
    {
        int elements = caches.Dims[1] * caches.Columns;
        return Tensor.Filled([sequences.Dims[0], .. caches.Dims[1..]], i => caches.Data[((int)sequences.Data[i / elements] * elements) + (i % elements)]);
    }

    private Tensor[] Attend(Attention op, Tensor[] inputs)
    {
        (Tensor q, Tensor k, Tensor v) = (inputs[0], inputs[1], inputs[2]);
        if (op.Range.HasSequences)
        {
            return Attend(op with { Range = op.Range with { HasSequences = false } }, [q, OfSequences(k, inputs[3]), OfSequences(v, inputs[3]), .. inputs[4..]]);
        }

        int steps = q.Dims[1];
        var output = new Tensor(q.Dims);
        var logSums = new Tensor([q.Dims[0], steps, op.Heads]);
        for (int batch = 0; batch < q.Dims[0]; batch++)
        {
            for (int time = 0; time < steps; time++)
            {
                for (int head = 0; head < op.Heads; head++)
                {
                    (int[] rows, _, double[] p, logSums[(batch * steps) + time, head]) = Softmax(op, q, k, inputs[3..], batch, time, head);
                    int keyHead = head / (op.Heads / op.KeyValueHeads);
                    for (int s = 0; s < p.Length; s++)
                    {
                        for (int d = 0; d < op.HeadDim; d++)
                        {
                            output[(batch * steps) + time, (head * op.HeadDim) + d] += p[s] * v[rows[s], (keyHead * op.HeadDim) + d];
                        }
                    }
                }
            }
        }

        return [output, logSums];
    }

    /// <summary>The softmax with one score more, which no value belongs to.</summary>
    private static Tensor[] Sink(Attention op, Tensor output, Tensor logSums, Tensor sinks)
    {
        Tensor sums = Tensor.Filled(logSums.Dims, i => Math.Log(Math.Exp(logSums.Data[i]) + Math.Exp(sinks.Data[i % op.Heads])));
        return [Tensor.Filled(output.Dims, i => output.Data[i] * Math.Exp(logSums.Data[i / op.HeadDim] - sums.Data[i / op.HeadDim])), sums];
    }

    /// <summary>With P = softmax(S), O = PV and the cotangent dO: dV = PᵀdO, dP = dO·Vᵀ, dS = P ∘ (dP − rowsum(P ∘ dP)).</summary>
    private Tensor[] AttendBackwards(Attention op, Tensor[] inputs)
    {
        (Tensor q, Tensor k, Tensor v, Tensor cotangent) = (inputs[0], inputs[1], inputs[2], inputs[5]);
        int steps = q.Dims[1];
        Tensor dq = new(q.Dims), dk = new(k.Dims), dv = new(v.Dims);
        Tensor? table = op.HasTable ? new Tensor([q.Dims[0], .. inputs[^1].Dims]) : null;
        for (int batch = 0; batch < q.Dims[0]; batch++)
        {
            for (int time = 0; time < steps; time++)
            {
                int query = (batch * steps) + time;
                for (int head = 0; head < op.Heads; head++)
                {
                    (int[] rows, _, double[] own, double logSum) = Softmax(op, q, k, inputs[AttentionGradient.Tensors..], batch, time, head);
                    double[] p = [.. own.Select(x => x * Math.Exp(logSum - inputs[4][query, head]))]; // Less than all where there is a sink.
                    int column = head * op.HeadDim;
                    int keyColumn = head / (op.Heads / op.KeyValueHeads) * op.HeadDim;
                    var dp = new double[p.Length];
                    for (int s = 0; s < p.Length; s++)
                    {
                        for (int d = 0; d < op.HeadDim; d++)
                        {
                            dp[s] += cotangent[query, column + d] * v[rows[s], keyColumn + d];
                            dv[rows[s], keyColumn + d] += p[s] * cotangent[query, column + d];
                        }
                    }

                    double mean = p.Zip(dp, (a, b) => a * b).Sum();
                    for (int s = 0; s < p.Length; s++)
                    {
                        double ds = op.Scale * p[s] * (dp[s] - mean);
                        if (op.SoftCap > 0)
                        {
                            // The logarithm of a probability is the capped score, less the log of the sum.
                            ds *= 1 - Math.Pow((Math.Log(own[s]) + logSum) / op.SoftCap, 2);
                        }

                        if (op.Bias is RelativeBias bias)
                        {
                            int relative = Seen(op.Range, q, k, inputs[AttentionGradient.Tensors..], batch, time)[s].Relative;
                            table![(batch * bias.Buckets) + BucketOf(bias, relative), head] += p[s] * (dp[s] - mean);
                        }

                        for (int d = 0; d < op.HeadDim; d++)
                        {
                            dq[query, column + d] += ds * k[rows[s], keyColumn + d];
                            dk[rows[s], keyColumn + d] += ds * q[query, column + d];
                        }
                    }
                }
            }
        }

        return [dq, dk, dv, .. table is null ? [] : new[] { table }];
    }

    /// <summary>With lengths, row b of a step is one of its sequence where the step is below that row's length; elsewhere it has no part in the run.</summary>
    private Tensor[] Recur(Scan scan, Tensor[] inputs, Tensor? lengths)
    {
        int steps = Resolve(scan.Extent);
        Tensor[] carries = [.. inputs.Take(scan.Carries)];
        Tensor[] results = [
            .. Enumerable.Range(0, scan.Carries).SelectMany(c => new[] { History(carries[c].Dims), History(carries[c].Dims), carries[c] }),
            .. scan.Body.Outputs.Skip(scan.Carries).Select(o => History(Resolve(o.Value.Shape)))];
        for (int i = 0; i < steps; i++)
        {
            int step = scan.Reverse ? steps - 1 - i : i;
            var body = new ReferenceInterpreter(scan.Body, _run, leaf => leaf.Kind switch
            {
                BodyInputKind.Carry => carries[leaf.Number],
                BodyInputKind.Sequence => Rows(inputs[scan.Carries + leaf.Number].Step(step), null),
                _ => inputs[scan.Carries + scan.Sequences + leaf.Number],
            });
            body.EvaluateAll();
            Tensor[] outputs = [.. scan.Body.Outputs.Select(o => body._values[o.Value])];
            for (int c = 0; c < scan.Carries; c++)
            {
                results[Scan.Before(c)].SetStep(step, Rows(carries[c], null));
                results[Scan.After(c)].SetStep(step, Rows(outputs[c], null));
                results[Scan.Final(c)] = outputs[c] = Rows(outputs[c], carries[c]);
            }

            for (int o = 0; o < scan.OutputSequences; o++)
            {
                results[scan.Sequence(o)].SetStep(step, Rows(outputs[scan.Carries + o], null));
            }

            carries = outputs[..scan.Carries];

            // The rows that have this step, with others or nothing in the place of those that have not.
            Tensor Rows(Tensor x, Tensor? otherwise)
            {
                int each = lengths is null ? 1 : x.Data.Length / lengths.Data.Length;
                return lengths is null ? x : Tensor.Filled(x.Dims, e => step < lengths.Data[e / each] ? x.Data[e] : otherwise?.Data[e] ?? 0);
            }
        }

        return results;

        Tensor History(IReadOnlyList<int> dims) => new([steps, .. dims]);
    }
}
