using System.Runtime.InteropServices;
using ModelGen.Compiler;
using ModelGen.Compiler.Emit.Ptx;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets;
using ModelGen.Compiler.Targets.Cuda;
using ModelGen.Runtime;
using ModelGen.Tests.Compiler;

namespace ModelGen.Tests.Ptx;

/// <summary>A graph as a device's program, run by the machine for PTX: every buffer is memory of its own, which nothing may go beyond.</summary>
internal sealed unsafe class PtxFunction
{
    private const uint Poison = 0x7FC0BAAD;

    private readonly ModelGraph _graph;
    private readonly ModelLayout _layout;
    private readonly KernelProgram _program;
    private readonly Dictionary<string, PtxEntryPoint> _entries;

    private PtxFunction(ModelGraph graph, ModelLayout layout, KernelProgram program, CudaProgram device, string module)
    {
        (_graph, _layout, _program, Device, Module) = (graph, layout, program, device, module);
        _entries = PtxEntryPoint.Read(module);
    }

    /// <summary>Whether the device has products of four warps.</summary>
    public bool HasWarpgroups { get; private init; }

    public CudaProgram Device { get; }

    /// <summary>The text of the module.</summary>
    public string Module { get; }

    /// <summary>Thread instructions of the last run.</summary>
    public long Executed { get; private set; }

    /// <summary>Thread instructions of the last run, entry by entry.</summary>
    public Dictionary<string, long> ExecutedBy { get; } = [];

    /// <summary>Conflicts in the banks of shared memory of the last run.</summary>
    public long BankConflicts { get; private set; }

    /// <summary>A graph's program; <paramref name="edit"/> changes its module before it is read.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="edit">What is changed.</param>
    /// <param name="products">What a device does for products; null for what it does by itself, in single precision.</param>
    /// <param name="precision">What factors are rounded to.</param>
    /// <param name="rounding">How they are rounded to bfloat16.</param>
    /// <param name="formats">How parameters lie in memory that are not single precision.</param>
    /// <param name="warpgroups">Which products are by groups of four warps, on a device that has these.</param>
    /// <param name="attention">What a device does for attention; null for what it does by itself.</param>
    /// <param name="blocks">Which matrices are computed some rows at a time; null for those that are by themselves.</param>
    public static PtxFunction Compile(ModelGraph graph, Func<string, string>? edit = null, Func<MatMulKernel, CudaProductPlan>? products = null, global::ModelGen.Compiler.CudaPrecision precision = default, global::ModelGen.Compiler.CudaRounding rounding = default, IReadOnlyDictionary<string, StorageFormat>? formats = null, Func<MatMulKernel, WarpgroupTiles?>? warpgroups = null, Func<Kernel, TensorAttention?>? attention = null, RowBlocks? blocks = null)
    {
        ModelLayout layout = ModelLayout.Of([graph], formats: formats);
        KernelProgram program = InBlocks(ModelCompiler.Kernels(graph, layout, default), blocks);
        var module = products is null ? new CudaModule(precision) { Rounding = rounding } : new CudaModule { Products = products, Rounding = rounding };
        module = attention is null ? module : new CudaModule(precision) { Attention = attention, Rounding = rounding };
        if (warpgroups is not null)
        {
            module = new CudaModule(precision) { Warpgroups = warpgroups, Rounding = rounding };
            CudaProgram packed = module.Add(program);
            string text = edit is null ? module.WarpgroupText : edit(module.WarpgroupText);
            var function = new PtxFunction(graph, layout, packed.Program, packed, text) { HasWarpgroups = true };
            foreach ((string name, PtxEntryPoint entry) in PtxEntryPoint.Read(module.Text))
            {
                function._entries.Add(name, entry);
            }

            return function;
        }

        CudaProgram device = module.Add(program);
        return new PtxFunction(graph, layout, device.Program, device, edit is null ? module.Text : edit(module.Text));
    }

    /// <summary>Weights and their copies in bfloat16.</summary>
    public IReadOnlyList<(PlanBuffer From, PlanBuffer To)> Copies { get; private init; } = [];

    /// <summary>Of parameters that lie packed in memory, what is there.</summary>
    public Dictionary<string, byte[]> Packed { get; } = [];

    public RunResults Run(RunArguments run, IReadOnlyDictionary<string, Tensor>? accumulateInto = null)
    {
        using var memory = new Memory(this);
        foreach ((Parameter parameter, long _) in _layout.Parameters)
        {
            if (Packed.TryGetValue(parameter.ParameterName, out byte[]? packed))
            {
                packed.CopyTo(new Span<byte>(memory[_layout.Weight(parameter.ParameterName)], (int)_layout.Weight(parameter.ParameterName).Bytes));
                continue;
            }

            Write(memory[_layout.Weight(parameter.ParameterName)], run.Parameters[parameter.ParameterName], ElementType.Float32);
            PlanBuffer gradient = _layout.Gradient(parameter.ParameterName);

            // Rows that no contribution covers stay as they are, and they are zero from the beginning.
            if (_graph.Gradients.Any(g => g.Parameter == parameter.ParameterName && g.Value.Op is PadRows))
            {
                new Span<float>(memory[gradient], (int)gradient.Elements).Clear();
            }

            if (accumulateInto is not null && accumulateInto.TryGetValue(parameter.ParameterName, out Tensor? present))
            {
                Write(memory[gradient], present, ElementType.Float32);
            }
        }

        foreach ((PlanBuffer from, PlanBuffer to) in Copies)
        {
            var halves = (ushort*)memory[to];
            for (int i = 0; i < from.Elements; i++)
            {
                uint bits = BitConverter.SingleToUInt32Bits(memory[from][i]);
                halves[i] = (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
            }
        }

        foreach (Input input in _graph.NodesOf<Input>().Select(n => (Input)n.Op))
        {
            View view = _program.Inputs[input.InputName];
            Write(memory[view.Buffer], run.Inputs[input.InputName], input.Type.Element);
        }

        foreach ((_, PlanBuffer buffer, _, _) in States())
        {
            new Span<byte>(memory[buffer], (int)buffer.Bytes).Clear();
        }

        foreach ((string name, PlanBuffer buffer, Shape shape, Func<int, long> at) in States())
        {
            if (run.State.TryGetValue(name, out Tensor? held) && !buffer.Format.IsPlain)
            {
                Rows(memory, buffer, shape, at, (row, columns, first) =>
                {
                    float* values = stackalloc float[columns];
                    for (int c = 0; c < columns; c++)
                    {
                        values[c] = (float)held.Data[first + c];
                    }

                    if (buffer.Format.Name == "F16")
                    {
                        CacheRows.StoreF16(values, columns, row);
                    }
                    else
                    {
                        CacheRows.StoreQ8_0(values, columns, row);
                    }
                });
            }
            else if (held is not null)
            {
                for (int i = 0; i < held.Data.Length; i++)
                {
                    memory[buffer][at(i)] = (float)held.Data[i];
                }
            }
        }

        byte[] record = new byte[(RunRecord.Bytes(_program.Counts.Count) + 7) / 8 * 8];
        void Put<T>(int offset, T value)
            where T : unmanaged => MemoryMarshal.Write(record.AsSpan(offset), in value);
        Put(RunRecord.Seed, run.Seed);
        Put(RunRecord.Position, run.Position);
        Put(RunRecord.Accumulate, accumulateInto is null ? 0 : 1);
        Put(RunRecord.LossNormalizer, (float)run.LossNormalizer);
        Put(RunRecord.GradientScale, (float)run.GradientScale);
        for (int i = 0; i < _program.Counts.Count; i++)
        {
            Put(RunRecord.Counts + (4 * i), run.CountOf(_program.Counts[i].Symbol!));
        }

        GCHandle pinned = GCHandle.Alloc(record, GCHandleType.Pinned);
        try
        {
            ExecutedBy.Clear();
            var machine = new PtxMachine();
            machine.Allow((void*)pinned.AddrOfPinnedObject(), record.Length, "the run's record");
            memory.Allow(machine);
            Steps(Device.Steps, 0);
            (Executed, BankConflicts) = (machine.Executed, machine.BankConflicts);

            void Steps(IReadOnlyList<CudaStep> steps, int step)
            {
                foreach (CudaStep each in steps)
                {
                    if (each is CudaLoop loop)
                    {
                        int count = loop.Loop.Steps.Factors.Aggregate(loop.Loop.Steps.Coefficient, (product, dim) => product * (run.CountOf(dim.Symbol!) + dim.Plus));
                        for (int i = 0; i < count; i++)
                        {
                            Steps(loop.Body, loop.Loop.Reverse ? count - 1 - i : i);
                        }

                        continue;
                    }

                    foreach (CudaLaunch launch in each is CudaChoice choice ? HasWarpgroups ? choice.Warpgroups : [choice.Otherwise] : [(CudaLaunch)each])
                    {
                        PtxEntryPoint entry = _entries[launch.Entry];
                        long before = machine.Executed;
                        machine.Launch(entry, launch.Blocks.X, launch.Blocks.Y, launch.Threads, Parameters(entry, launch, memory, (ulong)pinned.AddrOfPinnedObject(), step), launch.SharedBytes);
                        ExecutedBy[launch.Entry] = ExecutedBy.GetValueOrDefault(launch.Entry) + machine.Executed - before;
                    }
                }
            }
        }
        finally
        {
            pinned.Free();
        }

        var results = new RunResults();
        foreach (GraphOutput output in _graph.Outputs)
        {
            View view = _program.Outputs[output.Name];
            float* start = memory[view.Buffer] + view.Offset;
            results.Outputs.Add(output.Name, Tensor.Filled(CaseData.Resolve(output.Value.Shape, run), i => start[i]));
        }

        foreach ((string name, PlanBuffer buffer, Shape shape, Func<int, long> at) in States())
        {
            float* start = memory[buffer];
            if (!buffer.Format.IsPlain)
            {
                float[] values = new float[shape.MaximumElements];
                Rows(memory, buffer, shape, at, (row, columns, first) =>
                {
                    fixed (float* to = values)
                    {
                        if (buffer.Format.Name == "F16")
                        {
                            CacheRows.LoadF16<F128>(row, 0, columns, 1, 0, columns, to + first, 0);
                        }
                        else
                        {
                            CacheRows.LoadQ8_0<F128>(row, 0, columns, 1, 0, columns, to + first, 0);
                        }
                    }
                });
                results.State.Add(name, Tensor.Filled(CaseData.Resolve(shape, run), i => values[i]));
                continue;
            }

            results.State.Add(name, Tensor.Filled(CaseData.Resolve(shape, run), i => start[at(i)]));
        }

        foreach (string name in _graph.Gradients.Select(g => g.Parameter).Distinct())
        {
            float* start = memory[_layout.Gradient(name)];
            Parameter parameter = _layout.Parameters.First(p => p.Parameter.ParameterName == name).Parameter;
            results.Gradients.Add(name, Tensor.Filled(CaseData.Resolve(parameter.Shape, run), i => start[i]));
        }

        return results;
    }

    /// <summary>The parameters of a launch as a driver lays them out.</summary>
    private static byte[] Parameters(PtxEntryPoint entry, CudaLaunch launch, Memory memory, ulong record, int step)
    {
        var bytes = new List<byte>();
        foreach ((string name, int size) in entry.Parameters)
        {
            while (bytes.Count % size != 0)
            {
                bytes.Add(0);
            }

            bytes.AddRange(name switch
            {
                "run" => BitConverter.GetBytes(record),
                "step" => BitConverter.GetBytes(step),
                "draw" => BitConverter.GetBytes(launch.Draw),
                _ => BitConverter.GetBytes(Address(launch.Kernel.Operands[int.Parse(name.AsSpan(1), System.Globalization.CultureInfo.InvariantCulture)].View)),
            });
        }

        return [.. bytes];

        ulong Address(View view) => (ulong)memory[view.Buffer] + (ulong)view.Buffer.Format.Distance(view.Offset);
    }

    private IEnumerable<(string Name, PlanBuffer Buffer, Shape Shape, Func<int, long> At)> States()
    {
        foreach ((string name, Shape shape, PlanBuffer buffer) in GraphFunction.StatesOf(_graph, _layout))
        {
            int each = (int)shape.DropFirst().MaximumElements;
            yield return (name, buffer, shape, buffer.Elements == shape.MaximumElements ? i => i : i => (i / each * _layout.StatesApart(buffer.Format)) + (i % each));
        }
    }

    /// <summary>Takes an action for each row of a state: where it lies, its columns, and the number of its first element.</summary>
    private static void Rows(Memory memory, PlanBuffer buffer, Shape shape, Func<int, long> at, RowAction each)
    {
        int columns = shape.Columns;
        for (int first = 0; first < shape.MaximumElements; first += columns)
        {
            each((byte*)memory[buffer] + buffer.Format.Distance(at(first)), columns, first);
        }
    }

    private delegate void RowAction(byte* row, int columns, int first);

    private static void Write(float* target, Tensor tensor, ElementType element)
    {
        for (int i = 0; i < tensor.Data.Length; i++)
        {
            if (element == ElementType.Int32)
            {
                ((int*)target)[i] = (int)tensor.Data[i];
            }
            else
            {
                target[i] = (float)tensor.Data[i];
            }
        }
    }

    /// <summary>A graph's program with what products alone read stored as they multiply it, or with rounded caches.</summary>
    /// <param name="graph">The graph.</param>
    /// <param name="precision">What factors are rounded to.</param>
    /// <param name="stores">Whether what products alone read is stored so.</param>
    /// <param name="cache">How caches lie in memory.</param>
    /// <param name="edit">What is changed of the module before it is read.</param>
    /// <param name="blocks">Which matrices are computed some rows at a time; null for those that are by themselves.</param>
    public static PtxFunction CompileStored(ModelGraph graph, global::ModelGen.Compiler.CudaPrecision precision = default, bool stores = false, global::ModelGen.Compiler.CacheFormat cache = default, Func<string, string>? edit = null, RowBlocks? blocks = null)
    {
        ModelLayout layout = ModelLayout.Of([graph], stateFormats: CacheFormats.Of([graph], cache));
        KernelProgram program = InBlocks(ModelCompiler.Kernels(graph, layout, default), blocks);
        var module = new CudaModule(precision);
        if (stores)
        {
            program = default(Stages).Rewrite(program, (nameof(StoredOperands), p => StoredOperands.Run(p, module.Products, module.Attention, layout.Copies)));
        }

        CudaProgram device = module.Add(program);
        return new PtxFunction(graph, layout, device.Program, device, edit is null ? module.Text : edit(module.Text)) { Copies = layout.Copies.All };
    }

    private static KernelProgram InBlocks(KernelProgram program, RowBlocks? blocks) => default(Stages).Rewrite(program, (nameof(ChunkRows), p => ChunkRows.Run(p, blocks ?? RowBlocks.OfDevice)));

    /// <summary>A piece of memory for each buffer, whose contents are not numbers at first.</summary>
    private sealed class Memory : IDisposable
    {
        private readonly Dictionary<PlanBuffer, nint> _pieces = [];

        public Memory(PtxFunction function)
        {
            IEnumerable<PlanBuffer> buffers = function._program.Buffers
                .Concat(function._layout.Parameters.SelectMany(p => new[] { function._layout.Weight(p.Parameter.ParameterName), function._layout.Gradient(p.Parameter.ParameterName) }))
                .Concat(function.States().Select(s => s.Buffer)).Concat(function.Copies.Select(c => c.To));
            foreach (PlanBuffer buffer in buffers.Distinct())
            {
                nint piece = (nint)NativeMemory.AlignedAlloc((nuint)Math.Max(buffer.Bytes, 4), 256);
                new Span<uint>((void*)piece, (int)(buffer.Bytes / 4)).Fill(Poison);
                _pieces.Add(buffer, piece);
            }
        }

        public float* this[PlanBuffer buffer] => (float*)_pieces[buffer];

        public void Allow(PtxMachine machine)
        {
            foreach ((PlanBuffer buffer, nint piece) in _pieces)
            {
                machine.Allow((void*)piece, buffer.Bytes, buffer.Name);
            }
        }

        public void Dispose()
        {
            foreach (nint piece in _pieces.Values)
            {
                NativeMemory.AlignedFree((void*)piece);
            }
        }
    }
}
