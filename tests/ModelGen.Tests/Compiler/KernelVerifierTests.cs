using ModelGen.Compiler;
using ModelGen.Compiler.Families;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets;
using ModelGen.Compiler.Targets.Cpu;

namespace ModelGen.Tests.Compiler;

/// <summary>Every rule about programs of kernels rejects a program that breaks it, and that one alone.</summary>
public sealed class KernelVerifierTests
{
    private static readonly PlanBuffer Input = new("input", MemorySpace.Arena, StorageFormat.Float32, 15);
    private static readonly PlanBuffer Indices = new("indices", MemorySpace.Arena, StorageFormat.Int32, 15);
    private static readonly PlanBuffer Result = new("result", MemorySpace.Arena, StorageFormat.Float32, 15);
    private static readonly PlanBuffer Gradient = new("weight", MemorySpace.Gradients, StorageFormat.Float32, 15);

    /// <summary>Every kernel class that is no loop says what it is, what it touches and how it is printed: none is left to a default.</summary>
    [Fact]
    public void Every_kernel_class_is_known_everywhere()
    {
        Type[] classes = [.. typeof(Kernel).Assembly.GetTypes().Where(t => !t.IsAbstract && typeof(Kernel).IsAssignableFrom(t) && t.Namespace == typeof(Kernel).Namespace && t != typeof(LoopKernel))];
        var met = new Dictionary<Type, Kernel>();
        foreach (ModelGraph graph in KernelCases.Forward.Values.Concat(KernelCases.Backward.Values).Select(c => c.Graph))
        {
            foreach (Kernel kernel in ModelCompiler.Kernels(graph, ModelLayout.Of(graph), default).Kernels.SelectMany(k => k is LoopKernel loop ? loop.Body : [k]))
            {
                met.TryAdd(kernel.GetType(), kernel);
            }
        }

        // What a target adds it knows itself.
        Assert.Equal(classes.Select(c => c.Name).Order(), met.Keys.Select(c => c.Name).Order());
        Assert.Equal(met.Count, met.Values.Select(KernelSignature.Of).Distinct().Count());
        Assert.All(met.Values, k => Assert.All(Enumerable.Range(0, k.Operands.Count), i => Assert.True(Footprint.Of(k, i).Elements > 0)));
        Assert.Throws<InvalidOperationException>(() => KernelSignature.Of(new Unknown()));
        Assert.Throws<GraphException>(() => Footprint.Of(new Unknown(), 0));
    }

    /// <summary>What lies behind the last of a varying number of steps is apart from all of them, as where a loop that runs backwards begins; what lies within is not.</summary>
    [Theory]
    [InlineData(8, "T", 8, true)]
    [InlineData(7, "T", 8, false)]
    [InlineData(8, "S", 8, false)]
    [InlineData(8, "T", 4, false)]
    public void Behind_the_last_step_is_apart(int offset, string extent, int stride, bool apart)
    {
        var steps = new Footprint(new View(Input, 0), [(RowExtent.Literal(1), RowExtent.Literal(8)), (RowExtent.Literal(8), RowExtent.Of(Dim.Time(5)))]);
        var last = new Footprint(new View(Input, offset, LastStride: stride, LastExtent: extent), [(RowExtent.Literal(1), RowExtent.Literal(8))]);
        Assert.Equal(apart, last.IsApartFrom(steps));
        Assert.Equal(apart, steps.IsApartFrom(last));
    }

    [Fact]
    public void Accepts_what_is_right() => Verify(Copy(Input, Result));

    [Fact]
    public void Rejects_a_read_of_what_nothing_wrote()
        => Rejected("reads elements 0 to 14", Copy(new PlanBuffer("nothing", MemorySpace.Arena, StorageFormat.Float32, 15), Result));

    [Fact]
    public void Rejects_a_read_before_the_write()
    {
        var between = new PlanBuffer("between", MemorySpace.Arena, StorageFormat.Float32, 15);
        Verify(Copy(Input, between), Copy(between, Result));
        Rejected("reads elements 0 to 14", Copy(between, Result), Copy(Input, between));
    }

    /// <summary>Rows, or columns in the middle, that no kernel writes.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Rejects_a_read_of_what_is_written_in_part(int missing)
    {
        var joined = new PlanBuffer("joined", MemorySpace.Arena, StorageFormat.Float32, 9);
        RowKernel[] parts = [.. Enumerable.Range(0, 3).Select(c => Map([3], 1, Operand("input", Input, 0, [5], 1, false), Operand("output", joined, c, [3], 1, true)))];
        RowKernel reader = Map([3], 3, Operand("input", joined, 0, [3], 1, false), Operand("output", Result, 0, [5], 1, true));
        Verify([.. parts, reader]);
        Rejected("of which what was written before", [.. parts.Where((_, i) => i != missing), reader]);
    }

    [Fact]
    public void Rejects_an_operand_that_leaves_its_buffer()
    {
        Rejected("which has 15", Map([3], 5, Operand("input", Input, 1, [5], 1, false), Operand("output", Result, 0, [5], 1, true)));
        Rejected("which has 15", Map([3], 5, Operand("input", Input, 0, [5], 1, false), Operand("output", Result, 0, [6], 1, true)));
        Rejected("which has 15", Map([3], 5, Operand("input", Input, 0, [5], 2, false), Operand("output", Result, 0, [5], 1, true)));
    }

    /// <summary>For the largest count, whatever the usual one is.</summary>
    [Fact]
    public void Rejects_an_operand_that_leaves_its_buffer_for_some_count()
    {
        RowKernel Over(int most) => new("rows", [Operand("input", Input, 0, [5], 1, false), Operand("output", Result, 0, [5], 1, true)], [RowExtent.Of(Dim.Time(most))], 5, [new RowPhase([], [new Store(1, new OperandExpr(0), StoreMode.Replace)])], 0, 0);
        Verify(Over(3));
        Rejected("which has 15", Over(4));
        var moving = new View(Input, 0, LastStride: 5, LastExtent: ExtentNames.Time);
        RowKernel last = Map([1], 5, new KernelOperand("input", moving, Access.Matrix(5), false), Operand("output", Result, 0, [5], 1, true));
        KernelVerifier.Verify([last], [Input], [Dim.Time(3)], "a test");
        Assert.Contains("which has 15", Assert.Throws<GraphException>(() => KernelVerifier.Verify([last], [Input], [Dim.Time(4)], "a test")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Rejects_two_writes_of_one_element()
    {
        Rejected("writes over what", Copy(Input, Result), Copy(Input, Result));
        Rejected("more than once", Map([3], 5, Operand("input", Input, 0, [5], 1, false), Operand("output", Result, 0, [4], 1, true)));
        Rejected("more than once", Map([3], 5, Operand("input", Input, 0, [5], 1, false), Operand("output", Result, 0, [0], 1, true)));
        Rejected("overlap, and one of them is written", new RowKernel("both", [Operand("a", Result, 0, [5], 1, true), Operand("b", Result, 4, [5], 1, true)], [RowExtent.Literal(2)], 5, [new RowPhase([], [new Store(0, 1.0, StoreMode.Replace), new Store(1, 1.0, StoreMode.Replace)])], 0, 0));

        // Every other column of one is not every other column of the other.
        Verify(
            Map([3], 2, Operand("input", Input, 0, [5], 1, false), Operand("output", Result, 0, [4], 2, true)),
            Map([3], 2, Operand("input", Input, 0, [5], 1, false), Operand("output", Result, 1, [4], 2, true)));
    }

    [Fact]
    public void Rejects_contributions_to_a_gradient_that_overwrite_each_other()
    {
        RowKernel Contribution(StoreMode mode) => new("gradient", [Operand("input", Input, 0, [5], 1, false), Operand("output", Gradient, 0, [5], 1, true)], [RowExtent.Literal(3)], 5, [new RowPhase([], [new Store(1, new OperandExpr(0), mode)])], 0, 0);
        Verify(Contribution(StoreMode.AddWhenAccumulating), Contribution(StoreMode.Add));
        Rejected("writes over what", Contribution(StoreMode.AddWhenAccumulating), Contribution(StoreMode.AddWhenAccumulating));
    }

    [Fact]
    public void Rejects_what_is_incomplete_in_itself()
    {
        Rejected("strides for 1 axes", Map([3], 5, Operand("input", Input, 0, [5, 1], 1, false), Operand("output", Result, 0, [5], 1, true)));
        Rejected("which is no result", new RowKernel("k", [Operand("input", Input, 0, [5], 1, false)], [RowExtent.Literal(3)], 5, [new RowPhase([], [new Store(0, 1.0, StoreMode.Replace)])], 0, 0));
        Rejected("which is nothing to read", new RowKernel("k", [Operand("output", Result, 0, [5], 1, true)], [RowExtent.Literal(3)], 5, [new RowPhase([], [new Store(0, new OperandExpr(7), StoreMode.Replace)])], 0, 0));
        Rejected("no earlier phase computes", new RowKernel("k", [Operand("output", Result, 0, [5], 1, true)], [RowExtent.Literal(3)], 5, [new RowPhase([], [new Store(0, new RowValueExpr(0), StoreMode.Replace)])], 0, 0));
        Rejected("accumulator", new RowKernel("k", [Operand("output", Result, 0, [5], 1, true)], [RowExtent.Literal(3)], 5, [new RowPhase([], [new Store(0, new AccumulatorExpr(), StoreMode.Replace)])], 0, 0));
        Rejected("is no matrix", new TransposeIndicesKernel("k", [Operand("input", Input, 0, [1], 2, false), Operand("output", Result, 0, [1], 1, true)], 3, RowExtent.Literal(5), 0));
    }

    /// <summary>States of sequences that lie over each other, out of what holds them, or without an index for each row.</summary>
    [Fact]
    public void Rejects_scattered_rows_that_meet_or_leave_the_states()
    {
        var states = new PlanBuffer("states", MemorySpace.State, StorageFormat.Float32, 40);
        KernelOperand IndicesOf(string name) => new(name, new View(Indices, 0), Access.Matrix(1, StorageFormat.Int32), IsWritten: false);
        Kernel Scatter(int sequenceStride, int positionStride, params string[] names)
            => new ScatterKernel("scatter", [Operand("input", Input, 0, [5], 1, false), Operand("states", states, 0, [sequenceStride], 1, true), .. names.Select(IndicesOf)], RowExtent.Literal(2), 5, 2, names.Length > 1 ? 4 : 1, positionStride, 0);
        Verify(Scatter(20, 5, "sequences", "positions"));
        Verify(Scatter(20, 0, "sequences"));
        Rejected("which has 40", Scatter(21, 5, "sequences", "positions"));
        Rejected("overlap", Scatter(19, 5, "sequences", "positions"));
        Rejected("overlap", Scatter(20, 4, "sequences", "positions"));
        Rejected("of each sequence", Scatter(20, 0, "positions"));
    }

    /// <summary>A recurrence whose first step nothing has prepared.</summary>
    [Fact]
    public void Rejects_a_loop_whose_first_step_reads_nothing()
    {
        var history = new PlanBuffer("history", MemorySpace.Arena, StorageFormat.Float32, 20);
        KernelOperand Slot(string name, int offset, bool written) => new(name, new View(history, offset, StepStride: 5), Access.Matrix(5), written);
        Kernel loop = new LoopKernel("loop", RowExtent.Literal(3), reverse: false, [Map([1], 5, Slot("before", 0, false), Slot("after", 5, true))]);
        RowKernel initial = Map([1], 5, Operand("input", Input, 0, [5], 1, false), Operand("output", history, 0, [5], 1, true));
        Verify(initial, loop);
        Rejected("reads elements 0 to 14", loop);
    }

    /// <summary>What is stored in one format is not read as another, and memory is planned by the bytes that a format takes.</summary>
    [Fact]
    public void Formats_of_storage_are_held_to_and_sized_in_bytes()
    {
        var half = new StorageFormat("F16", ElementType.Float32, 1, 2);
        var blocks = new StorageFormat("Q8_0", ElementType.Float32, 32, 34);
        Assert.Equal([0, 2, 30, 34, 34, 68], [half.Bytes(0), half.Bytes(1), half.Bytes(15), blocks.Bytes(1), blocks.Bytes(32), blocks.Bytes(33)]);
        Assert.Equal(68, blocks.Distance(64));
        Assert.Throws<GraphException>(() => blocks.Distance(16));
        Assert.Throws<GraphException>(() => new PlanBuffer("b", MemorySpace.Arena, half, 15) { Offset = 0 }.WordOf(1));

        var between = new PlanBuffer("between", MemorySpace.Arena, half, 15 * 64);
        RowKernel Widen(PlanBuffer from, StorageFormat taken, PlanBuffer to) => Map([64], 15,
            new("input", new View(from, 0), Access.Matrix(15, taken), false), new("output", new View(to, 0), Access.Matrix(15, to.Format), true));
        var first = new PlanBuffer("first", MemorySpace.Arena, StorageFormat.Float32, 15 * 64);
        var last = new PlanBuffer("last", MemorySpace.Arena, StorageFormat.Float32, 15 * 64);
        Kernel[] kernels = [Widen(first, StorageFormat.Float32, between), Widen(between, half, last)];
        KernelVerifier.Verify(kernels, [first], [], "a test");
        Assert.Contains("taken for F32", Assert.Throws<GraphException>(() => KernelVerifier.Verify([kernels[0], Widen(between, StorageFormat.Float32, last)], [first], [], "a test")).Message, StringComparison.Ordinal);

        // What comes in and goes out has a place of its own; between them lie half as many bytes.
        var program = new KernelProgram(kernels, new Dictionary<string, View> { ["first"] = new(first, 0) }, new Dictionary<string, View> { ["last"] = new(last, 0) }, [first, between, last], []);
        CpuProgram plan = ModelCompiler.Target(program, CacheSizes.Default, default);
        long arena = MemoryPlanner.Plan(plan);
        Assert.Equal((2 * 3840) + 1920, arena);
        MemoryPlanVerifier.Verify(plan, arena);
        Assert.Throws<GraphException>(() => MemoryPlanVerifier.Verify(plan, arena - 1));
    }

    /// <summary>Every family's plan, and then the same plan with one living buffer laid over another.</summary>
    [Fact]
    public void Rejects_a_memory_plan_that_lays_living_buffers_over_each_other()
    {
        ModelGraph graph = KernelCases.PrepareTraining(Families.Training("gpt"));
        CpuProgram plan = ModelCompiler.Target(ModelCompiler.Kernels(graph, ModelLayout.Of(graph), default), CacheSizes.Default, default);
        KernelProgram program = plan.Program;
        long arena = MemoryPlanner.Plan(plan);
        MemoryPlanVerifier.Verify(plan, arena);
        Assert.Throws<GraphException>(() => MemoryPlanVerifier.Verify(plan, arena - 64));

        // Whatever a later kernel reads must not lie where the one between writes.
        int broken = 0;
        PlanBuffer[] buffers = [.. program.Buffers.Where(b => b.Space == MemorySpace.Arena && b.Offset >= 0)];
        for (int i = 0; i + 1 < program.Kernels.Count; i++)
        {
            PlanBuffer[] later = [.. program.Kernels.Skip(i + 1).SelectMany(k => k.Operands).Where(o => !o.IsWritten).Select(o => o.View.Buffer).Where(buffers.Contains).Distinct()];
            PlanBuffer[] before = [.. program.Kernels.Take(i).SelectMany(k => k.Operands).Where(o => o.IsWritten).Select(o => o.View.Buffer)];
            if (program.Kernels[i].Operands.FirstOrDefault(o => o.IsWritten && buffers.Contains(o.View.Buffer))?.View.Buffer is not { } written
                || later.FirstOrDefault(b => before.Contains(b) && b != written) is not { } victim)
            {
                continue;
            }

            long place = written.Offset;
            written.Offset = victim.Offset;
            Exception? problem = Record.Exception(() => MemoryPlanVerifier.Verify(plan, arena + written.Bytes));
            Assert.True(problem is GraphException, $"'{program.Kernels[i].Name}' writes {written} over {victim}");
            written.Offset = place;
            broken++;
        }

        Assert.True(broken > 10);
        MemoryPlanVerifier.Verify(plan, arena);
    }

    private static RowKernel Copy(PlanBuffer from, PlanBuffer to) => Map([3], 5, Operand("input", from, 0, [5], 1, false), Operand("output", to, 0, [5], 1, true));

    private static RowKernel Map(int[] axes, int columns, KernelOperand read, KernelOperand written)
        => new("copy", [read, written], new([.. axes.Select(RowExtent.Literal)]), columns, [new RowPhase([], [new Store(1, new OperandExpr(0), StoreMode.Replace)])], 0, 0);

    private static KernelOperand Operand(string name, PlanBuffer buffer, int offset, int[] strides, int columnStride, bool written)
        => new(name, new View(buffer, offset), new Access(StorageFormat.Float32, new([.. strides.Select(RowExtent.Literal)]), columnStride), written);

    private static void Verify(params Kernel[] kernels) => KernelVerifier.Verify(kernels, [Input, Indices], [], "a test");

    private static void Rejected(string problem, params Kernel[] kernels)
        => Assert.Contains(problem, Assert.Throws<GraphException>(() => Verify(kernels)).Message, StringComparison.Ordinal);

    private sealed class Unknown() : Kernel("unknown", [Operand("input", Input, 0, [5], 1, false)], 0, 0);
}
