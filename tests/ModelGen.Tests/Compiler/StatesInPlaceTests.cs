using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>
/// Which states are overwritten where they lie: those of which nothing is read once it has been overwritten, whoever runs the kernels. Each way to read a state too late is planted, and keeps the copy.
/// </summary>
public sealed class StatesInPlaceTests
{
    private const int Rows = 7;
    private const int Columns = 5;

    private readonly PlanBuffer _state = new("state", MemorySpace.State, StorageFormat.Float32, Rows * Columns) { Offset = 0 };
    private readonly PlanBuffer _next = new("next", MemorySpace.Arena, StorageFormat.Float32, Rows * Columns);
    private readonly PlanBuffer _input = new("input", MemorySpace.Arena, StorageFormat.Float32, 2 * Rows * Columns);
    private readonly PlanBuffer _result = new("result", MemorySpace.Arena, StorageFormat.Float32, 2 * Rows * Columns);

    [Fact]
    public void What_is_read_element_by_element_is_overwritten()
    {
        KernelProgram program = Replaced(Map("next", _state, _next));
        Kernel kernel = Assert.Single(program.Kernels);
        Assert.All(kernel.Operands, o => Assert.Equal(new View(_state, 0), o.View));
        Assert.DoesNotContain(_next, program.Buffers);
    }

    [Fact]
    public void Readers_of_the_old_come_before_and_readers_of_the_new_behind()
    {
        KernelProgram program = Replaced(Map("old", _state, _result), Sum("summed", _state, _result, Rows * Columns), Map("next", _state, _next), Sum("new", _next, _result, (Rows * Columns) + Columns));
        Assert.Equal(["old", "summed", "next", "new"], program.Kernels.Select(k => k.Name));
        Assert.Equal(_state, program.Kernels[3].Operands[0].View.Buffer);

        // Of the same kind, but divided among workers: between any two of them they meet.
        PlanBuffer state = new("wide", MemorySpace.State, StorageFormat.Float32, 96 * 256) { Offset = 0 }, next = new("next", MemorySpace.Arena, StorageFormat.Float32, 96 * 256), result = new("result", MemorySpace.Arena, StorageFormat.Float32, 3 * 256);
        Kernel[] kernels = [Sum("summed", state, result, 0, 96, 256), Map("next", state, next, 96, 256), Sum("new", next, result, 256, 96, 256), Map("copy", next, state, 96, 256)];
        CpuProgram cpu = ModelCompiler.Target(Program(kernels, [next, result], result), CacheSizes.Default, default);
        ScheduleStep[] steps = [.. cpu.Schedule.Parts.SelectMany(p => p)];
        Assert.Equal(["summed", "|", "next", "|", "new", "|"], steps.Select(s => s is KernelStep step ? step.Kernel.Name : s is BarrierStep ? "|" : "other"));
    }

    [Fact]
    public void What_is_read_later_is_kept()
    {
        Kept(Map("next", _input, _next), Map("old", _state, _result));
        Kept(Map("next", _input, _next), Sum("old", _state, _result, 0));
        Replaced(Map("old", _state, _result), Map("next", _input, _next));

        // Half of the rows are overwritten before the others are read, which lie elsewhere, or not.
        Kernel first = Map("first", _input, _next, 3, Columns), second = Map("second", _input, _next, 4, Columns, to: 3 * Columns);
        Replaced(first, Map("old", _state, _result, 4, Columns, from: 3 * Columns), second);
        Kept(first, Map("old", _state, _result, 4, Columns, from: 2 * Columns), second);
        Kept(first, second, Map("old", _state, _result, 4, Columns, from: 3 * Columns));
    }

    [Fact]
    public void What_a_kernel_reads_of_other_rows_or_columns_than_it_writes_is_kept()
    {
        // A window's rows, which move up by one, and down.
        PlanBuffer window = new("window", MemorySpace.Arena, StorageFormat.Float32, (Rows + 1) * Columns);
        Kernel up = Map("up", _state, _next, Rows - 1, Columns, from: Columns), newest = Map("newest", _input, _next, 1, Columns, to: (Rows - 1) * Columns);
        Kept(up, newest);
        Kept(newest, up);
        Kept(Map("down", _state, _next, Rows - 1, Columns, to: Columns), Map("newest", _input, _next, 1, Columns));
        Kept(Map("held", _state, window), Map("newest", _input, window, 1, Columns, to: Rows * Columns), Copy(window, Columns));

        // Columns of one row, a row for all, one number for all, and a transpose.
        KernelOperand written = Operand("output", _next, 0, [Columns], 1, written: true);
        Kept(new RowKernel("across", [Operand("input", _state, 0, [Columns], 1), Operand("other", _state, 1, [Columns], 1), Operand("output", _next, 0, [Columns], 1, written: true)], [RowExtent.Literal(Rows)], Columns - 1, Stores(2, 0, 1), 0, 0),
            new RowKernel("last", [Operand("input", _input, 0, [1], 1), Operand("output", _next, Columns - 1, [Columns], 1, written: true)], [RowExtent.Literal(Rows)], 1, Stores(1, 0), 0, 0));
        Kept(Broadcast(0, 1));
        Kept(Broadcast(Columns, 0));
        Kept(Broadcast(0, 0));
        var square = new PlanBuffer("square", MemorySpace.State, StorageFormat.Float32, 25) { Offset = 0 };
        var turned = new PlanBuffer("turned", MemorySpace.Arena, StorageFormat.Float32, 25);
        Kernel transpose = new RowKernel("transpose", [Operand("input", square, 0, [1], 5), Operand("output", turned, 0, [5], 1, written: true)], [RowExtent.Literal(5)], 5, Stores(1, 0), 0, 0);
        Assert.Equal(2, Run([transpose, Map("copy", turned, square, 5, 5)], [turned]).Kernels.Count);

        RowKernel Broadcast(int rowStride, int columnStride)
            => new("broadcast", [Operand("input", _state, 0, [Columns], 1), Operand("other", _state, 0, [rowStride], columnStride), written], [RowExtent.Literal(Rows)], Columns, Stores(2, 0, 1), 0, 0);
    }

    [Fact]
    public void What_a_kernel_reads_after_it_has_written_is_kept()
    {
        KernelOperand[] operands = [Operand("input", _state, 0, [Columns], 1), Operand("output", _next, 0, [Columns], 1, written: true), Operand("other", _result, 0, [Columns], 1, written: true)];
        Store next = new(1, new OperandExpr(0), StoreMode.Replace), other = new(2, new OperandExpr(0), StoreMode.Replace), constant = new(1, 1.0, StoreMode.Replace);
        RowKernel Of(params Store[][] phases) => new("next", operands, [RowExtent.Literal(Rows)], Columns, [.. phases.Select(p => new RowPhase([], p))], 0, 0);
        Replaced(Of([next, other]));
        Replaced(Of([other, next]));
        Replaced(Of([other], [next]));
        Replaced(Of([other], [constant]));
        Kept(Of([next], [other]));
        Kept(Of([constant, other]));
        Kept(Of([constant], [other]));
    }

    /// <summary>Any column of a product needs all of the row that is contracted, which others may have overwritten.</summary>
    [Fact]
    public void What_a_product_contracts_is_kept_unless_another_kernel_stores()
    {
        var weight = new PlanBuffer("weight", MemorySpace.Weights, StorageFormat.Float32, Columns * Columns) { Offset = 0 };
        MatMulKernel Product(PlanBuffer left, PlanBuffer summand, PlanBuffer to) => new(
            "product",
            [Operand("a", left, 0, [Columns], 1), Operand("b", weight, 0, [Columns], 1), Operand("c", summand, 0, [Columns], 1), Operand("output", to, 0, [Columns], 1, written: true)],
            MatMulForm.NT, RowExtent.Literal(Rows), Columns, Columns, [new Store(3, new BinaryExpr(BinaryFunction.Add, new AccumulatorExpr(), new OperandExpr(2)), StoreMode.Replace)], 0, 0);
        Kept(Product(_state, _input, _next));
        Kept(Product(_state, _state, _next));
        Replaced(Product(_input, _state, _next));
        Replaced(Product(_state, _input, _result), Map("next", _result, _next));
        Kept(Product(_input, _input, _next), Product(_state, _input, _result));
    }

    [Fact]
    public void What_a_loop_reads_and_writes_is_kept()
    {
        Kernel Row(PlanBuffer from, PlanBuffer to, int first = 0) => new RowKernel("row", [new("input", new View(from, 0, StepStride: Columns), Access.Matrix(Columns), false), new("output", new View(to, first, StepStride: Columns), Access.Matrix(Columns), true)],
            [RowExtent.Literal(1)], Columns, Stores(1, 0), 0, 0);
        Kernel Loop(params Kernel[] body) => new LoopKernel("loop", RowExtent.Literal(Rows), reverse: false, body);
        Kept(Loop(Row(_state, _next)));
        Kept(Loop(Row(_input, _next), Row(_state, _result)));
        Kept(Loop(Row(_state, _result), Row(_input, _next)));
        Kept(Loop(Row(_input, _next)), Loop(Row(_state, _result)));
        KernelProgram program = Replaced(Loop(Row(_state, _result)), Loop(Row(_input, _next), Row(_next, _result, Rows * Columns)));
        Assert.All(program.Kernels[1].Leaves, k => Assert.Contains(k.Operands, o => o.View == new View(_state, 0, StepStride: Columns)));
    }

    [Fact]
    public void What_is_no_copy_of_all_of_it_is_kept()
    {
        // The caller reads what is in the arena; another state takes it as well; it lies there among others, or in another order.
        Assert.Equal(2, Run([Map("next", _state, _next), Copy(_next)], [_next], _next).Kernels.Count);
        var other = new PlanBuffer("other", MemorySpace.State, StorageFormat.Float32, Rows * Columns) { Offset = 1024 };
        KernelProgram both = Run([Map("next", _state, _next), Copy(_next), Map("second", _next, other)], [_next]);
        Assert.Equal(["next", "second"], both.Kernels.Select(k => k.Name));
        Assert.Equal([_state, other], both.Kernels[1].Operands.Select(o => o.View.Buffer));
        Kept(Map("next", _state, _result), Map("copied", _input, _next), Copy(_result));
        KernelOperand turned = Operand("input", _next, 0, [1], Rows), straight = Operand("input", _next, 0, [Columns], 1), written = Operand("output", _state, 0, [Columns], 1, written: true);
        Kept(Map("next", _state, _next), new RowKernel("copy", [turned, written], [RowExtent.Literal(Rows)], Columns, Stores(1, 0), 0, 0));
        Kept(Map("next", _state, _next), new RowKernel("copy", [straight, written], [RowExtent.Literal(Rows)], Columns, Stores(1, 0, 0), 0, 0));
        Kept(Map("next", _state, _next), Map("copy", _next, _state, mode: StoreMode.Add));
    }

    [Fact]
    public void What_others_write_or_reach_by_another_name_is_kept()
    {
        // States of several sequences are one buffer over all of them.
        var all = new PlanBuffer("all", MemorySpace.State, StorageFormat.Float32, 4 * Rows * Columns) { Offset = 0 };
        Kept(Map("next", _state, _next), Map("other", all, _result, from: Rows * Columns));
        var beside = new PlanBuffer("beside", MemorySpace.State, StorageFormat.Float32, 4 * Rows * Columns) { Offset = 4 * Rows * Columns };
        Replaced(Map("next", _state, _next), Map("other", beside, _result));
        Kept(Map("next", _input, _next), Map("appended", _input, _state, 1, Columns));

        // Two states that change places: each is read when the other one is overwritten.
        PlanBuffer second = new("second", MemorySpace.State, StorageFormat.Float32, Rows * Columns) { Offset = 1024 }, exchanged = new("exchanged", MemorySpace.Arena, StorageFormat.Float32, Rows * Columns);
        KernelProgram swapped = Run([Map("a", second, _next), Map("b", _state, exchanged), Copy(_next), Map("copy", exchanged, second)], [_next, exchanged]);
        Assert.Equal(["a", "b", "copy"], swapped.Kernels.Select(k => k.Name));
        Assert.Equal([second, _next, _state, second, _next, _state], swapped.Kernels.SelectMany(k => k.Operands).Select(o => o.View.Buffer));
    }

    /// <summary>A verifier accepts what the pass leaves, and nothing that reads a state where its next value is being written.</summary>
    [Fact]
    public void A_state_is_overwritten_element_by_element_or_rejected()
    {
        void Verify(Kernel kernel) => KernelVerifier.Verify([kernel], [_input], [], "a test");
        Verify(Map("next", _state, _state));
        Assert.Throws<GraphException>(() => Verify(Map("up", _state, _state, Rows - 1, Columns, from: Columns)));
        Assert.Throws<GraphException>(() => Verify(Map("next", _input, _input)));
    }

    /// <summary>What decoding leaves where states are.</summary>
    /// <summary>
    /// What decoding carries on lies where the state does: the cells' and recurrences' states. A plain cell's is contracted by the kernel that stores the next one, a convolution's window moves up, and keys and
    /// values are appended; prompts and training have what a loop carries in the arena, for all of its steps.
    /// </summary>
    [Theory]
    [InlineData("rnn", "Decode", "rnn.h_l0", "rnn.h_l1")]
    [InlineData("lstm", "Decode")]
    [InlineData("lstm regressor", "Next")]
    [InlineData("lstm to lstm", "Decode")]
    [InlineData("gru", "Decode")]
    [InlineData("gated delta rule alone", "Decode", "model.layers.0.linear_attn.conv1d.all.state", "model.layers.1.linear_attn.conv1d.all.state")]
    [InlineData("mamba2", "Decode", "model.layers.0.mamba.conv1d.all.state", "model.layers.1.mamba.conv1d.all.state")]
    [InlineData("lfm2", "Decode", "model.layers.0.conv.conv.all.state", "model.layers.1.self_attn.attention.key_cache", "model.layers.1.self_attn.attention.value_cache")]
    [InlineData("lstm", "Prefill", "rnn.c_l0", "rnn.c_l1", "rnn.h_l0", "rnn.h_l1")]
    [InlineData("lstm", "Step", "rnn.c_l0", "rnn.c_l1", "rnn.h_l0", "rnn.h_l1")]
    [InlineData("gru", "Evaluate", "rnn.h_l0", "rnn.h_l1")]
    public void States_of_models(string family, string entry, params string[] copied)
    {
        CompiledEntry compiled = ModelCompiler.Plan(Families.All[family], CacheSizes.Default, default).Entries.Single(e => e.Entry.Name == entry);
        Assert.Equal(copied, Copies(compiled.Plan.Program).Order(StringComparer.Ordinal));

        // Each state is written once, whichever way.
        string[] updated = [.. compiled.Graph.StateUpdates.Select(u => u.State)];
        Assert.All(updated, state => Assert.Single(compiled.Plan.Program.Kernels.SelectMany(k => k.Leaves).SelectMany(k => k.Operands), o => o.IsWritten && o.View.Buffer is { Space: MemorySpace.State } buffer && buffer.Name == state));
    }

    /// <summary>A device has its copies still: its kernels say nothing of the order in which threads read.</summary>
    [Fact]
    public void A_device_keeps_its_copies()
    {
        CompiledEntry decode = ModelCompiler.Plan(Families.All["gated delta rule alone"] with { HasCuda = true }, CacheSizes.Default, default).Entries.Single(e => e.Entry.Name == "Decode");
        Assert.DoesNotContain("model.layers.0.linear_attn.delta.state", Copies(decode.Plan.Program));
        Assert.Contains("model.layers.0.linear_attn.delta.state", Copies(decode.Cuda!.Device.Program));
    }

    public static TheoryData<int> Seeds => [.. Enumerable.Range(0, 3)];

    /// <summary>
    /// States of which random expressions are computed, of all that can be read of them, before and after: emitted code against the interpreter, on several threads, with work enough for each.
    /// Some of them are overwritten in place, and some are not.
    /// </summary>
    [Theory]
    [MemberData(nameof(Seeds))]
    public void Random_steps_are_what_the_graph_means(int seed)
    {
        KernelCase[] cases = [.. Enumerable.Range(0, 16).Select(i => RandomStep(new Random((100 * seed) + i), $"step {seed} {i}"))];
        int states = cases.Sum(c => c.Graph.StateUpdates.Count);
        foreach (BufferPlacement placement in new[] { BufferPlacement.RedZones, BufferPlacement.Planned })
        {
            GraphFunction[] functions = GraphFunction.Compile([.. cases.Select(c => c.Graph)], placement);
            int copies = functions.Sum(f => Copies(f.Program).Count());
            Assert.InRange(copies, states / 8, states - (states / 8));
            foreach ((KernelCase c, GraphFunction function) in cases.Zip(functions))
            {
                KernelCheck.Compare(c, function);
            }
        }
    }

    private static KernelCase RandomStep(Random random, string name)
    {
        var b = new GraphBuilder();
        int size = random.Next(2) == 0 ? random.Next(1, 40) : 97 + random.Next(40);
        Shape shape = Shape.Of(size, size);
        Value[] states = [.. Enumerable.Range(0, 1 + random.Next(3)).Select(i => b.Add(new StateRead("s" + i, shape), "s" + i))];
        Value x = b.Parameter("x", shape, Initializer.Normal(1));
        List<Value> values = [.. states, x];
        int number = 0;
        Value Any() => random.Next(3) == 0 ? states[random.Next(states.Length)] : values[^(1 + random.Next(Math.Min(4, values.Count)))];
        Value Bounded(Value value) => b.Add(new Tanh(), "v" + number++, value);
        for (int i = 3 + random.Next(8); i > 0; i--)
        {
            Value a = Any();
            values.Add(Bounded(random.Next(9) switch
            {
                0 => b.Add(new MatMul(MatMulForm.NT), "product" + number, b.Add(new Affine(1.0 / size, 0), "", a), Any()),
                1 => b.Add(new Add(), "", a, b.Add(new RowSum(), "", b.Add(new Affine(1.0 / size, 0), "", Any()))),
                2 => b.Add(new Multiply(), "", a, b.Add(new Reshape(Shape.Of(1, size)), "", b.Add(new SelectRow(random.Next(size)), "", Any()))),
                3 => b.Add(new Add(), "", a, b.Add(new Permute([1, 0]), "", Any())),
                4 => b.Add(new Add(), "", a, b.Add(new ColumnSum(Shape.Of(1, size)), "summed" + number, b.Add(new Affine(1.0 / size, 0), "", Any()))),
                5 when size > 1 => b.Add(new ConcatColumns(), "joined" + number, b.Add(new SliceColumns(1, size - 1), "", a), b.Add(new SliceColumns(0, 1), "", Any())),
                6 => b.Add(new Affine(random.NextDouble(), 0.1), "", a),
                7 => b.Add(new Multiply(), "", a, Any()),
                _ => b.Add(new Add(), "", a, Any()),
            }));
        }

        foreach ((Value state, int i) in states.Select((s, i) => (s, i)))
        {
            b.UpdateState("s" + i, random.Next(4) == 0 ? Any() : Bounded(b.Add(new Add(), "", random.Next(4) == 0 ? Any() : state, Any())));
        }

        b.Output("y", Bounded(b.Add(new Add(), "", Any(), x)));
        ModelGraph graph = KernelCases.Prepare(b.Build());
        return new KernelCase(name, graph, CaseData.Random(graph, 5));
    }

    /// <summary>The delta rule and a state space in the way in which a session decodes them, with heads large enough to be divided.</summary>
    [Fact]
    public void Recurrences_decoded_step_by_step_are_what_the_graph_means()
    {
        ModelGraph delta = Decoded(corrects: true), space = Decoded(corrects: false);
        KernelCase[] cases = [.. new[] { delta, space }.Select((graph, i) => new KernelCase("recurrence " + i, graph, CaseData.Random(graph, 3)))];
        GraphFunction[] functions = GraphFunction.Compile([.. cases.Select(c => c.Graph)], BufferPlacement.RedZones);
        foreach ((KernelCase c, GraphFunction function) in cases.Zip(functions))
        {
            Assert.Empty(Copies(function.Program));
            KernelCheck.Compare(c, function);
        }

        static ModelGraph Decoded(bool corrects)
        {
            var b = new GraphBuilder();
            Value Of(string name, params Dim[] dims) => b.Add(new Tanh(), name + ".bounded", b.Parameter(name, Shape.Of(dims), Initializer.Normal(0.3)));
            Value[] inputs = [Of("q", 1, 1, 2, 48), b.Add(new Affine(0.1, 0), "k.short", Of("k", 1, 1, 2, 48)), Of("v", 1, 1, 4, 33), b.Add(new Affine(-1, 0), "g", b.Add(new Softplus(), "pace", Of("a", 1, 1, 4))), .. corrects ? [b.Add(new Sigmoid(), "beta", Of("b", 1, 1, 4))] : Array.Empty<Value>()];
            b.Output("y", b.Add(new Tanh(), "y", b.Add(new LinearRecurrence(), "rule", inputs)));
            return KernelCases.Prepare(InlineSingleStep.Run(CarryStates.Run(ExpandComposites.Run(b.Build()))));
        }
    }

    /// <summary>The states that a program's copies bring where they lie.</summary>
    private static IEnumerable<string> Copies(KernelProgram program)
        => program.Kernels.OfType<RowKernel>().Where(k => k.Operands.Count == 2 && k.Operands[1].View.Buffer.Space == MemorySpace.State && k.Phases.All(p => p.Stores.All(s => s.Value is OperandExpr))).Select(k => k.Operands[1].View.Buffer.Name);

    private KernelProgram Replaced(params Kernel[] kernels)
    {
        KernelProgram program = Run([.. kernels, Copy(_next)], [_next]);
        Assert.Equal(kernels.Select(k => k.Name), program.Kernels.Select(k => k.Name));
        Assert.DoesNotContain(_next, program.Kernels.SelectMany(k => k.Leaves).SelectMany(k => k.Operands).Select(o => o.View.Buffer));
        return program;
    }

    private void Kept(params Kernel[] kernels)
    {
        Kernel[] all = kernels[^1].Name == "copy" ? kernels : [.. kernels, Copy(_next)];
        Assert.Equal(all, Run(all, [_next]).Kernels);
    }

    private KernelProgram Run(Kernel[] kernels, PlanBuffer[] buffers, PlanBuffer? output = null)
    {
        KernelProgram program = Program(kernels, buffers, output);
        KernelVerifier.Verify(program, "construction");
        program = StatesInPlace.Run(program);
        KernelVerifier.Verify(program, nameof(StatesInPlace));
        return program;
    }

    private KernelProgram Program(Kernel[] kernels, PlanBuffer[] buffers, PlanBuffer? output)
        => new(kernels, new Dictionary<string, View> { ["input"] = new(_input, 0) }, output is null ? new Dictionary<string, View>() : new() { ["output"] = new(output, 0) }, [_input, _result, .. buffers], []);

    private RowKernel Copy(PlanBuffer from, int first = 0) => Map("copy", from, _state, from: first);

    private static RowKernel Map(string name, PlanBuffer read, PlanBuffer written, int rows = Rows, int columns = Columns, int from = 0, int to = 0, StoreMode mode = StoreMode.Replace)
        => new(name, [Operand("input", read, from, [columns], 1), Operand("output", written, to, [columns], 1, written: true)], [RowExtent.Literal(rows)], columns, Stores(1, mode, 0), 0, 8L * rows * columns);

    private static ColumnSumKernel Sum(string name, PlanBuffer read, PlanBuffer written, int to, int rows = Rows, int columns = Columns)
        => new(name, [Operand("input", read, 0, [columns], 1), Operand("output", written, to, [0], 1, written: true)], [], [RowExtent.Literal(rows)], [RowExtent.Literal(1)], columns, [new Store(1, new OperandExpr(0), StoreMode.Replace)], 0, 4L * rows * columns);

    // One store, of the sum of what is read.
    private static RowPhase[] Stores(int to, params int[] read) => Stores(to, StoreMode.Replace, read);

    private static RowPhase[] Stores(int to, StoreMode mode, params int[] read)
        => [new RowPhase([], [new Store(to, read.Select(Expr (i) => new OperandExpr(i)).Aggregate((a, b) => new BinaryExpr(BinaryFunction.Add, a, b)), mode)])];

    private static KernelOperand Operand(string name, PlanBuffer buffer, int offset, int[] strides, int columnStride, bool written = false)
        => new(name, new View(buffer, offset), new Access(StorageFormat.Float32, new([.. strides.Select(RowExtent.Literal)]), columnStride), written);
}
