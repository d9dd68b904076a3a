using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Tests.Compiler;

/// <summary>
/// Graphs made of random numbers: chains and diamonds of element-wise operators with every kind of broadcast, reductions, matrix products
/// with anything behind and before them, column ranges cut and joined, lookups, losses whose targets may be ignored, attention over key ranges,
/// recurrences, padded batches with lengths, states. Values stay of the order of one, so that single precision can be compared with double.
/// </summary>
internal sealed class RandomGraphs
{
    private readonly Random _random;
    private readonly GraphBuilder _b = new();
    private readonly List<Value> _values = [];
    private readonly bool _differentiable;
    private readonly bool _dynamic;
    private readonly Dim _rows;
    private readonly Dim _batch;
    private readonly int[] _widths;
    private int _leaves;

    private RandomGraphs(Random random, bool differentiable, bool dynamic)
    {
        _random = random;
        _differentiable = differentiable;
        _dynamic = dynamic;
        int[] extents = [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 33];
        _batch = dynamic ? Pick(new Dim[] { 1, 1, 2, Dim.Batch(3), Dim.Named("S", 5) }) : Pick(1, 1, 2, 3);
        _rows = dynamic ? Dim.Time(Pick(extents)) : Pick(extents);
        _widths = [Pick(extents), Pick(extents), 1];
    }

    /// <summary>A graph all of whose operators have gradients where <paramref name="differentiable"/>, over a symbolic time where <paramref name="dynamic"/>.</summary>
    public static ModelGraph Build(Random random, bool differentiable, bool dynamic)
    {
        var graphs = new RandomGraphs(random, differentiable, dynamic);
        return graphs.Build();
    }

    private ModelGraph Build()
    {
        _values.Add(Leaf(Full(_widths[0])));
        _values.Add(Leaf(Full(_widths[1])));
        int steps = 4 + _random.Next(22);
        for (int i = 0; i < steps; i++)
        {
            if (Step() is { } value)
            {
                _values.Add(value);
            }
        }

        // Whatever nothing reads is an output, and now and then something that is read as well.
        var read = new HashSet<Value>(_b.Nodes.SelectMany(n => n.Inputs));
        int number = 0;
        foreach (Value value in _values.Distinct().Where(v => v.Op is not LeafOperator && v.Type.Element == ElementType.Float32 && (!read.Contains(v) || _random.Next(8) == 0)))
        {
            _b.Output("y" + number++, value);
        }

        if (number == 0)
        {
            _b.Output("y0", _b.Add(new Tanh(), "only", _values[^1]));
        }

        return _b.Build();
    }

    private int Pick(params int[] choices) => choices[_random.Next(choices.Length)];

    private T Pick<T>(IReadOnlyList<T> choices) => choices[_random.Next(choices.Count)];

    private string Name(string name) => $"{name}{_leaves++}";

    // Most values are [rows, C] or [batch, rows, C]: the domains that operators share.
    private Shape Full(int columns) => _batch == (Dim)1 && !_dynamic ? Shape.Of(_rows, columns) : Shape.Of(_batch, _rows, columns);

    private Value Leaf(Shape shape)
    {
        bool symbolic = shape.Dims.Any(d => !d.IsLiteral);
        string name = Name(_random.Next(3) == 0 ? "apart.p" : "p");
        return symbolic || _random.Next(4) == 0
            ? _b.Add(new Input(name, TensorType.Float(shape), 0), name)
            : _random.Next(10) == 0
                ? OperatorCases.Constant(_b, Math.Round((4 * _random.NextDouble()) - 2, 2), shape)
                : _b.Add(new Parameter(name, shape, Initializer.Normal(1), false, false), name);
    }

    /// <summary>A value that is there, rather a recent one.</summary>
    private Value Any(Func<Value, bool>? condition = null)
    {
        Value[] fitting = [.. _values.Where(v => v.Type.Element == ElementType.Float32 && (condition?.Invoke(v) ?? true))];
        if (fitting.Length == 0)
        {
            return _values[0];
        }

        return _random.Next(2) == 0 ? fitting[^(1 + _random.Next(Math.Min(3, fitting.Length)))] : Pick(fitting);
    }

    /// <summary>A value, old or new, that broadcasts with another one to that one's shape or the other way round.</summary>
    private Value Partner(Value x)
    {
        Value[] fitting = [.. _values.Where(v => v.Type.Element == ElementType.Float32 && Broadcasts(v.Shape, x.Shape))];
        if (fitting.Length > 0 && _random.Next(3) > 0)
        {
            return Pick(fitting);
        }

        // Any extent may be one, and the outermost ones missing.
        IEnumerable<Dim> dims = x.Shape.Dims.Select(d => _random.Next(3) == 0 ? 1 : d).ToArray();
        Shape shape = new(_random.Next(3) == 0 ? dims.Skip(_random.Next(x.Shape.Rank + 1)) : dims);
        return Leaf(shape);
    }

    private static bool Broadcasts(Shape a, Shape b)
    {
        try
        {
            Shape.Broadcast(a, b);
        }
        catch (GraphException)
        {
            return false;
        }

        return true;
    }

    private Value? Step()
    {
        Value x = Any();
        switch (_random.Next(_dynamic ? 26 : 32))
        {
            case 0 or 1 or 2 or 3:
                return Unary(x);
            case 4 or 5:
                return _b.Add(new Add(), Name("sum"), x, Partner(x));
            case 6:
                return _b.Add(new Subtract(), Name("difference"), x, Partner(x));
            case 7 or 8:
                return Bounded(_b.Add(new Multiply(), Name("product"), x, Partner(x)));
            case 9:
                Value divisor = _b.Add(new Affine(1, 0.5), Name("shifted"), _b.Add(new Sigmoid(), Name("gate"), Partner(x)));
                return _b.Add(new Divide(), Name("quotient"), x, divisor);
            case 10 or 11:
                return x.Shape.Rank == 0 ? null : Reduce(x);
            case 12:
                return x.Shape.Rank < 2 ? null : Softmax(x);
            case 13:
                return x.Shape.Rank < 2 ? null : _random.Next(2) == 0 ? _b.Add(new RmsNorm(0.1, _random.Next(2) == 0), Name("norm"), x, Leaf(Shape.Of(x.Shape[-1])))
                    : _b.Add(new LayerNorm(0.1, _random.Next(2) == 0), Name("norm"), x, Leaf(Shape.Of(x.Shape[-1])), Leaf(Shape.Of(x.Shape[-1])));
            case 14 or 15 or 16:
                return x.Shape.Rank < 2 ? null : Linear(x);
            case 17:
                return x.Shape.Rank == 0 || x.Shape.Columns < 2 ? null : Slice(x);
            case 18:
                return x.Shape.Rank == 0 ? null : Concatenate(x);
            case 19:
                return Lookup();
            case 20:
                return x.Shape.Rank < 2 || x.Shape.Columns == 1 ? null : Pointwise(x);
            case 21:
                return Attend();
            case 22:
                return x.Shape.Dims.All(d => d.IsLiteral) && x.Op is not LeafOperator ? _b.Add(new Dropout(0.25, _random.Next(100)), Name("dropped"), x) : null;
            case 23:
                return _dynamic ? Streamed() : Recur();
            case 24:
                return _random.Next(3) == 0 ? _random.Next(2) == 0 ? Turn() : Convolve() : x.Shape.Rank < 2 ? null : _random.Next(4) > 0 ? Transpose(x) : x.Shape.Rank > 3 ? null : _b.Add(new Unsqueeze(1 + _random.Next(x.Shape.Rank)), Name("unsqueezed"), x);
            case 25:
                return x.Shape.Rank < 2 || x.Shape.Columns < 2 ? null : _dynamic && _random.Next(2) == 0 ? SumOver(x) : EveryOther(x);
            case 26:
                return x.Shape.Rank == 0 ? null : _b.Add(new Reshape(Regroup(x.Shape)), Name("reshaped"), x);
            case 27 or 28:
                return x.Shape.Rank < 2 ? null : SumOver(x);
            case 29:
                return Contract();
            case 30:
                return x.Shape.Rank is 0 or > 3 ? null : _b.Add(new BroadcastTo(new Shape([.. x.Shape.Rank < 3 ? new Dim[] { Pick(2, 3, 9) } : [], .. x.Shape.Dims.Select(d => d == (Dim)1 ? Pick(1, 2, 5) : d)])), Name("stretched"), x);
            default:
                return Recur();
        }
    }

    private Value Unary(Value x)
    {
        UnaryOperator op = Pick<UnaryOperator>(
        [
            new Tanh(), new Sigmoid(), new Relu(), new Gelu(), new GeluTanh(), new Silu(), new Softplus(), new Elu(), new QuickGelu(),
            new Affine(Pick(-2, -1, 1, 2) * 0.5, Pick(-1, 0, 0, 1)),
        ]);
        return _random.Next(6) switch
        {
            0 => _b.Add(new Exp(), Name("exp"), _b.Add(new Tanh(), Name("t"), x)),
            1 => _b.Add(new Log(), Name("log"), _b.Add(new Affine(1, 0.25), Name("positive"), _b.Add(new Sigmoid(), Name("s"), x))),
            2 => _b.Add(new Rsqrt(0.5), Name("rsqrt"), _b.Add(new Multiply(), Name("square"), x, x)),
            _ => _b.Add(op, Name(op.Mnemonic), x),
        };
    }

    private Value Bounded(Value x) => _random.Next(2) == 0 ? _b.Add(new Tanh(), Name("bounded"), x) : Scaled(x, 0.5);

    private Value Scaled(Value x, double scale) => _b.Add(new Affine(scale, 0), Name("scaled"), x);

    private Value Reduce(Value x)
    {
        if (_random.Next(4) == 0)
        {
            Value maximum = _b.Add(new RowMax(), Name("max"), x);
            return _differentiable ? _b.Add(new StopGradient(), Name("stopped"), maximum) : maximum;
        }

        return Scaled(_b.Add(new RowSum(), Name("row_sum"), x), 1.0 / x.Shape.Columns);
    }

    private Value Softmax(Value x)
    {
        Value maximum = _b.Add(new StopGradient(), Name("stopped"), _b.Add(new RowMax(), Name("max"), x));
        Value exponentials = _b.Add(new Exp(), Name("exp"), _b.Add(new Subtract(), Name("shifted"), x, maximum));
        return _b.Add(new Divide(), Name("softmax"), exponentials, _b.Add(new RowSum(), Name("total"), exponentials));
    }

    private Value Linear(Value x)
    {
        int columns = Pick(_widths[0], _widths[1], Pick(1, 2, 6, 13, 19));
        bool transposed = _random.Next(2) == 0;
        Value weight = Leaf(transposed ? Shape.Of(columns, x.Shape[-1]) : Shape.Of(x.Shape[-1], columns));
        Value product = Scaled(_b.Add(new MatMul(transposed ? MatMulForm.NT : MatMulForm.NN), Name("matmul"), x, weight), 1 / Math.Sqrt(x.Shape.Columns));
        return _random.Next(3) switch
        {
            0 => product,
            1 => _b.Add(new Add(), Name("biased"), product, Leaf(Shape.Of(columns))),
            _ => Unary(_b.Add(new Add(), Name("biased"), product, Partner(product))),
        };
    }

    /// <summary>The extents in any order that leaves a literal one innermost.</summary>
    private Value Transpose(Value x)
    {
        int[] axes = [.. Enumerable.Range(0, x.Shape.Rank)];
        _random.Shuffle(axes);
        return x.Shape[axes[^1]].IsLiteral ? _b.Add(new Permute(new(axes)), Name("permuted"), x) : x;
    }

    /// <summary>Pairs of columns, turned by angles of whatever size.</summary>
    private Value? Turn()
    {
        Value x = Any(v => v.Shape.Rank == 3 && v.Shape.Columns > 1);
        int[] widths = x.Shape.Rank != 3 ? [] : [.. Enumerable.Range(2, x.Shape.Columns - 1).Where(w => x.Shape.Columns % w == 0)];
        if (widths.Length == 0)
        {
            return null;
        }

        int width = Pick(widths), rotated = 2 * (1 + _random.Next(width / 2));
        return Scaled(_b.Add(new Rotary(width, rotated, _random.Next(2) == 0), Name("turned"), x, Leaf(Shape.Of(x.Shape[1], rotated))), 0.5);
    }

    /// <summary>A convolution over a sequence, or steps of a longer one.</summary>
    private Value? Convolve()
    {
        Value x = Any(v => v.Shape.Rank == 3);
        if (x.Shape.Rank != 3)
        {
            return null;
        }

        int taps = 1 + _random.Next(4);
        if (_random.Next(3) > 0)
        {
            Value[] bias = _random.Next(2) == 0 ? [Leaf(Shape.Of(x.Shape[2]))] : [];
            return Scaled(_b.Add(new CausalConvolution(), Name("convolved"), [x, Leaf(Shape.Of(taps, x.Shape[2])), .. bias]), 1.0 / taps);
        }

        Value all = _b.Add(new Preceded(taps), Name("preceded"), _random.Next(2) == 0 ? [x, Leaf(Shape.Of(x.Shape[0], taps, x.Shape[2]))] : [x]);
        int steps = 1 + _random.Next(taps);
        return _random.Next(2) == 0 ? _b.Add(new LastSteps(steps), Name("last"), all) : _b.Add(new SliceSteps(taps - steps, x.Shape[1]), Name("steps"), all);
    }

    /// <summary>Columns some number apart, as a view; now and then put back between others.</summary>
    private Value? EveryOther(Value x)
    {
        int[] steps = [.. new[] { 2, 3, 4, 5, 7 }.Where(s => x.Shape.Columns % s == 0)];
        if (steps.Length == 0)
        {
            return null;
        }

        int step = Pick(steps);
        Dim[] rows = [.. x.Shape.Dims.SkipLast(1)];
        Value groups = _b.Add(new Reshape(new Shape([.. rows, x.Shape.Columns / step, step])), Name("groups"), x);
        Value Part(int offset) => _b.Add(new Reshape(x.Shape.WithLast(x.Shape.Columns / step)), Name("strided"), _b.Add(new SliceColumns(offset, 1), Name("every"), groups));
        Value first = Part(_random.Next(step));
        if (_random.Next(2) == 0)
        {
            return first;
        }

        Value Column(Value v) => _b.Add(new Reshape(new Shape([.. v.Shape.Dims, 1])), Name("column"), v);
        Value[] columns = [.. Enumerable.Range(0, step).Select(i => Column(i % 2 == 0 ? Unary(Part(i)) : Part(step - i)))];
        return _b.Add(new Reshape(x.Shape), Name("interleaved"), _b.Add(new ConcatColumns(), Name("joined"), columns));
    }

    private Value SumOver(Value x)
    {
        Dim[] dims = [.. x.Shape.Dims.SkipLast(1).Select(d => _random.Next(2) == 0 ? 1 : d), x.Shape[-1]];
        Shape shape = new(dims.All(d => d == (Dim)1) || _random.Next(2) == 0 ? dims.SkipWhile((d, i) => i < dims.Length - 1 && d == (Dim)1) : dims);
        return Scaled(_b.Add(new ColumnSum(shape), Name("summed"), x), (double)shape.MaximumElements / x.Shape.MaximumElements);
    }

    private Value Slice(Value x)
    {
        if (x.Shape.Rank > 1 && _random.Next(3) == 0)
        {
            return _b.Add(new SelectRow(x.Shape[-2].IsLiteral ? _random.Next(x.Shape[-2].Maximum) : 0), Name("row"), x);
        }

        int offset = _random.Next(x.Shape.Columns);
        return _b.Add(new SliceColumns(offset, 1 + _random.Next(x.Shape.Columns - offset)), Name("slice"), x);
    }

    private Value Concatenate(Value x)
    {
        Value[] beside = [.. _values.Where(v => v.Type.Element == ElementType.Float32 && v.Shape.Rank == x.Shape.Rank && v.Shape.Rank > 0 && v.Shape.WithLast(1).Equals(x.Shape.WithLast(1)))];
        return _b.Add(new ConcatColumns(), Name("beside"), [x, .. Enumerable.Range(0, 1 + _random.Next(3)).Select(_ => Pick(beside))]);
    }

    private Value Indices(Shape shape, int classes, bool targets)
    {
        string name = (targets ? "targets" : "indices") + _leaves++;
        return _b.Add(new Input(name, TensorType.Int(shape), classes), name);
    }

    private Value Lengths(Dim sequences, int limit, string what = "lengths")
    {
        string name = what + _leaves++;
        return _b.Add(new Input(name, TensorType.Int(Shape.Of(sequences)), limit), name);
    }

    private Value Lookup()
    {
        int classes = Pick(2, 5, 11);
        Shape shape = Full(1);
        Value indices = Indices(new Shape(shape.Dims.Take(shape.Rank - 1)), classes, targets: false);
        Value table = _b.Add(new Parameter(Name("table"), Shape.Of(classes, Pick(_widths)), Initializer.Normal(1), false, false), Name("table"));
        return _b.Add(new Embedding(), Name("embedding"), table, indices);
    }

    private Value Pointwise(Value x)
    {
        Value targets = Indices(new Shape(x.Shape.Dims.Take(x.Shape.Rank - 1)), x.Shape.Columns, targets: true);
        return _random.Next(3) switch
        {
            0 => _b.Add(new SelectColumn(x.Shape.Columns), Name("selected"), x, targets),
            1 => _b.Add(new Multiply(), Name("counted"), x, _b.Add(new IsTarget(), Name("counts"), targets)),
            _ => _b.Add(new CrossEntropy(), Name("nll"), x, targets),
        };
    }

    private Value Attend()
    {
        int heads = Pick(1, 2, 4);
        int headDim = Pick(1, 3, 4, 8, 9);
        int keyHeads = heads > 1 && _random.Next(2) == 0 ? heads / 2 : heads;
        Value x = Any(v => v.Shape.Rank == 3 && v.Shape[1] == _rows);
        if (x.Shape.Rank != 3 || x.Shape[1] != _rows)
        {
            return x;
        }

        Value all = Scaled(_b.Add(new MatMul(MatMulForm.NT), Name("qkv"), x, Leaf(Shape.Of((heads + (2 * keyHeads)) * headDim, x.Shape[-1]))), 1 / Math.Sqrt(x.Shape.Columns));
        Value Part(int offset, int count) => _b.Add(new SliceColumns(offset * headDim, count * headDim), Name("part"), all);
        (Value q, Value k, Value v) = (Part(0, heads), Part(heads, keyHeads), Part(heads + keyHeads, keyHeads));
        const int Spare = 5;
        bool cached = _dynamic && _random.Next(3) > 0;
        int memory = _rows.Maximum + (cached ? Spare : 0);
        KeyRange range = new()
        {
            IsCausal = _random.Next(3) > 0 || cached,
            Window = _random.Next(3) > 0 ? null : _random.Next(1 + Spare),
            IsCached = cached,
            HasPositions = cached && _random.Next(3) == 0,
            HasQueryLengths = _random.Next(4) == 0,
            HasKeyLengths = _random.Next(4) == 0,
        };
        KeyPattern? pattern = _random.Next(3) > 0 ? null : range.Window is not null ? new GlobalKeys(1 + _random.Next(4)) : _random.Next(2) == 0 ? new StridedKeys(1 + _random.Next(6)) : new FixedKeys(4, 1 + _random.Next(4));

        // A ring keeps the first keys beside the window of every query of a run.
        range = range with { Pattern = cached && pattern is GlobalKeys { Count: var kept } && kept + range.Window > Spare ? null : pattern };
        range = range with { IsRing = range is { IsCausal: true, IsCached: true, Window: not null, HasKeyLengths: false } && _random.Next(2) == 0 };
        Value[] numbers = [.. range.InputNames.Select(n => Lengths(x.Shape[0], range.LimitOf(n, _rows.Maximum, memory, 0) ?? 3 * memory, n))];
        Value Cache(Value rows)
        {
            string name = Name("cache");
            bool own = x.Shape[0] != (Dim)1 || range.VariesBySequence;
            Value state = _b.Add(new StateRead(name, own ? Shape.Of(x.Shape[0], memory, rows.Shape[-1]) : Shape.Of(memory, rows.Shape[-1])), name);
            var append = new AppendState { IsRing = range.IsRing, Kept = range.IsRing ? range.Kept : 0, HasPositions = range.HasPositions, HasLengths = range.HasQueryLengths };
            return _b.Add(append, name, [state, rows, .. numbers.Where((_, i) => range.InputNames[i] != "keyLengths")]);
        }

        ScoreBias? bias = _random.Next(3) > 0 ? null : OperatorCases.Biases[_random.Next(OperatorCases.Biases.Count)];
        Value[] table = bias is { TableRows: > 0 and int tableRows } ? [Leaf(Shape.Of(tableRows, heads))] : [];
        var attention = new Attention(heads, keyHeads, headDim, 1 / Math.Sqrt(headDim), range) { Bias = bias };
        return _b.Add(attention, Name("attention"), [q, cached ? Cache(k) : k, cached ? Cache(v) : v, .. numbers, .. table]);
    }

    private Value? Streamed()
    {
        Value x = Any(v => v.Shape.Rank == 3 && v.Shape.Rows is { Coefficient: 1, Factors.Count: 1 });
        return _random.Next(2) == 0 && x.Shape.Rank == 3 && x.Shape.Rows is { Coefficient: 1, Factors.Count: 1 } ? _b.Add(new LastRow(), Name("last"), x)
            : _b.Add(new RowsAtPosition(_rows), Name("positions"), _b.Add(new Parameter(Name("positions"), Shape.Of(_rows.Maximum + 5, Pick(_widths)), Initializer.Normal(1), false, false), "positions"));
    }

    private Value? Contract()
    {
        Value x = Any(v => v.Shape.Rank >= 2);
        Value y = Any(v => v.Shape.Rank == x.Shape.Rank && v.Shape.WithLast(1).Equals(x.Shape.WithLast(1)));
        return x.Shape.Rank < 2 || y.Shape.Rank != x.Shape.Rank || !y.Shape.WithLast(1).Equals(x.Shape.WithLast(1)) ? null
            : Scaled(_b.Add(new MatMul(MatMulForm.TN), Name("contracted"), x, y), 1.0 / x.Shape.Rows.Maximum);
    }

    private Shape Regroup(Shape shape)
    {
        int elements = checked((int)shape.MaximumElements);
        int[] divisors = [.. Enumerable.Range(1, elements).Where(d => elements % d == 0)];

        // Rows may be cut and joined anyhow; columns change only where the rows are dense, which a computed value's are.
        int columns = Pick(divisors);
        return _random.Next(2) == 0 ? Shape.Of(elements / shape.Columns, shape.Columns) : Shape.Of(elements / columns, columns);
    }

    /// <summary>A recurrence over the outermost extent, with a random body.</summary>
    private Value? Recur()
    {
        Value x = Any(v => v.Shape.Rank >= 2 && v.Shape[0].IsLiteral);
        if (x.Shape.Rank < 2)
        {
            return null;
        }

        // A step of a matrix is a vector; a recurrence is over matrices.
        Value sequence = x.Shape.Rank == 2 ? _b.Add(new Reshape(Shape.Of(x.Shape[0], 1, x.Shape[-1])), Name("steps"), x.Op is LeafOperator or ElementwiseOperator or MatMul ? x : _b.Add(new Tanh(), Name("dense"), x)) : x;
        Shape step = sequence.Shape.DropFirst();
        int hidden = Pick(1, 3, 5, 8, 11);
        var body = new GraphBuilder();
        Value Leaf(BodyInputKind kind, int number, Shape shape) => body.Add(new BodyInput(kind, number, TensorType.Float(shape)), kind.ToString());
        Value h = Leaf(BodyInputKind.Carry, 0, step.WithLast(hidden));
        Value s = Leaf(BodyInputKind.Sequence, 0, step);
        Value w = Leaf(BodyInputKind.Invariant, 0, Shape.Of(hidden, step[-1]));
        Value u = Leaf(BodyInputKind.Invariant, 1, Shape.Of(hidden, hidden));
        Value bias = Leaf(BodyInputKind.Invariant, 2, Shape.Of(hidden));
        Value input = body.Add(new MatMul(MatMulForm.NT), "wx", s, w);
        Value gate = body.Add(new Sigmoid(), "gate", body.Add(new Add(), "gate_sum", body.Add(new MatMul(MatMulForm.NT), "uh", h, u), body.Add(new Add(), "biased", input, bias)));
        Value next = _random.Next(4) switch
        {
            0 => body.Add(new Tanh(), "next", body.Add(new Add(), "sum", input, body.Add(new Multiply(), "kept", gate, h))),
            1 => body.Add(new Add(), "next", body.Add(new Multiply(), "kept", gate, h), body.Add(new Multiply(), "new", body.Add(new Affine(-1, 1), "rest", gate), body.Add(new Tanh(), "t", input))),
            2 => gate,
            _ => body.Add(new Tanh(), "next", body.Add(new Add(), "sum", Joined(), input)),
        };

        // The carried value moves on by one column, and the gate's first one comes in.
        Value Joined() => hidden == 1 ? gate : body.Add(new ConcatColumns(), "joined", body.Add(new SliceColumns(0, 1), "first", gate), body.Add(new SliceColumns(0, hidden - 1), "others", h));

        body.Output("h", next);
        int outputs = _random.Next(3);
        if (outputs > 0)
        {
            body.Output("gate", gate);
        }

        if (outputs > 1)
        {
            body.Output("projected", body.Add(new MatMul(MatMulForm.NN), "projected", next, u));
        }

        var scan = new Scan(body.Build(), sequence.Shape[0], _random.Next(2) == 0, 1, 1);
        string state = Name("state");
        Value initial = _random.Next(2) == 0 ? _b.Add(new StateRead(state, step.WithLast(hidden)), state) : this.Leaf(step.WithLast(hidden));
        double scale = 1 / Math.Sqrt(Math.Max(hidden, step.Columns));
        Value[] inputs = [initial, sequence, Scaled(this.Leaf(Shape.Of(hidden, step[-1])), scale), Scaled(this.Leaf(Shape.Of(hidden, hidden)), scale), this.Leaf(Shape.Of(hidden))];
        Value[] results = _random.Next(3) == 0
            ? _b.AddMany(new ScanOverLengths(scan), Name("scan"), [.. inputs, Lengths(step[0], sequence.Shape[0].Maximum + 1)])
            : _b.AddMany(scan, Name("scan"), inputs);
        if (initial.Op is StateRead)
        {
            _b.UpdateState(state, results[Scan.Final(0)]);
        }

        _values.AddRange(results.Skip(3));
        return Pick(results.Take(3).ToArray());
    }
}
