using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Runtime.Loader;
using System.Security.Cryptography;
using System.Text;
using ModelGen.Compiler;
using ModelGen.Compiler.Emit;
using ModelGen.Compiler.Emit.CSharp;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;
using ModelGen.Compiler.Passes;
using ModelGen.Compiler.Targets.Cpu;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Compiler;

/// <summary>Where a graph function's buffers lie.</summary>
internal enum BufferPlacement
{
    /// <summary>As the memory planner puts them: buffers share memory when their lives do not overlap.</summary>
    Planned,

    /// <summary>Each buffer alone, with a red zone behind it that must hold its pattern after the run.</summary>
    RedZones,

    /// <summary>Each buffer alone, ending at a page that may be neither read nor written.</summary>
    Guarded,
}

/// <summary>
/// What the compiler emits for a graph, compiled by Roslyn and callable on raw memory: the graph may be any, it need not be that
/// of a model. The graph is lowered as it is; passes that come before are the caller's business.
/// </summary>
internal sealed unsafe class GraphFunction
{
    /// <summary>Names the folder in which a process that a test starts finds what has been compiled.</summary>
    public const string FolderVariable = "MODELGEN_TEST_KERNELS";

    private static readonly Lazy<string> KeptIn = new(MakeFolder);

    private const string AssemblyName = "GraphFunctions";
    private const uint Poison = 0x7FC0_5EED;
    private const int RedZone = 64;

    private readonly ModelGraph _graph;
    private readonly CpuProgram _cpu;
    private readonly ModelLayout _layout;
    private readonly BufferPlacement _placement;
    private readonly Dictionary<MemorySpace, long> _sizes;
    private readonly PlanMethod _method;

    private GraphFunction(ModelGraph graph, Draft draft, PlanMethod method)
    {
        _graph = graph;
        _cpu = draft.Program;
        _layout = draft.Layout;
        _placement = draft.Placement;
        _sizes = draft.Sizes;
        _method = method;
    }

    private delegate void PlanMethod(in PlanContext context, Worker worker);

    /// <summary>The folder of compiled code that is kept, for <see cref="FolderVariable"/>.</summary>
    public static string Folder => Environment.GetEnvironmentVariable(FolderVariable) is { Length: > 0 } given ? given : KeptIn.Value;

    public KernelProgram Program => _cpu.Program;

    /// <summary>Compiles some graphs together, since starting the C# compiler costs more than one graph's text.</summary>
    /// <param name="graphs">The graphs.</param>
    /// <param name="placement">Where their buffers lie.</param>
    /// <param name="caches">The caches that they are compiled for.</param>
    /// <param name="formats">Parameters that are not stored in single precision.</param>
    /// <param name="states">What the rows of each graph's caches are rounded to.</param>
    public static GraphFunction[] Compile(IReadOnlyList<ModelGraph> graphs, BufferPlacement placement, CacheSizes? caches = null, IReadOnlyDictionary<string, StorageFormat>? formats = null, IReadOnlyList<ModelGen.Compiler.CacheFormat>? states = null)
        => Compile(graphs, [placement], caches, formats, states)[placement];

    /// <summary>As above, with each of several placements: plans differ in their offsets, and call the same kernels. Code that is kept is compiled once for this process and those that its tests start.</summary>
    public static Dictionary<BufferPlacement, GraphFunction[]> Compile(IReadOnlyList<ModelGraph> graphs, IReadOnlyList<BufferPlacement> placements, CacheSizes? caches = null, IReadOnlyDictionary<string, StorageFormat>? formats = null, IReadOnlyList<ModelGen.Compiler.CacheFormat>? states = null, bool isKept = false)
    {
        // As emitted models do, kernels of one text are shared, over all graphs.
        var emitter = new PlanEmitter([]);
        var drafts = placements.ToDictionary(placement => placement, placement => graphs.Select((g, i) => Draft.Of(g, placement, caches, formats, states is null ? default : states[i])).ToArray());
        var files = new List<(string Name, string Text)>();
        foreach (BufferPlacement placement in placements)
        {
            for (int i = 0; i < graphs.Count; i++)
            {
                var plan = new CodeWriter();
                emitter.Emit(plan, "", Name(i, placement), "a graph under test", drafts[placement][i].Program);
                files.Add((Name(i, placement) + ".cs", plan.ToString()));
            }
        }

        var text = new CodeWriter();
        foreach (string line in PlanEmitter.KernelImports)
        {
            text.Line(line);
        }

        text.Line().Open(PlanEmitter.KernelClassDeclaration);
        foreach (string kernel in emitter.Kernels)
        {
            text.Lines(kernel.TrimEnd('\n'));
        }

        text.Close();
        emitter.Weights(text);
        files.Add(("GraphFunctions.cs", text.ToString()));
        Assembly assembly = InMemoryCompilation.LoadImage(isKept ? Kept(files) : InMemoryCompilation.Compile(files, AssemblyName), AssemblyName);
        return drafts.ToDictionary(
            placed => placed.Key,
            placed => placed.Value.Select((draft, i) => new GraphFunction(
                graphs[i], draft, assembly.GetType(PlanEmitter.PlanClass(Name(i, placed.Key)))!.GetMethod("Run", BindingFlags.Static | BindingFlags.Public)!.CreateDelegate<PlanMethod>())).ToArray());

        static string Name(int index, BufferPlacement placement) => "Graph" + index.ToString(CultureInfo.InvariantCulture) + placement;
    }

    // What was compiled from this text before, by this process, the one that started it or an earlier one that it started.
    private static byte[] Kept(IReadOnlyList<(string Name, string Text)> files)
    {
        string path = Path.Combine(Folder, Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(string.Concat(files.Select(f => f.Text))))) + ".dll");
        if (File.Exists(path))
        {
            return File.ReadAllBytes(path);
        }

        byte[] image = InMemoryCompilation.Compile(files, AssemblyName);
        File.WriteAllBytes(path + ".part", image);
        File.Move(path + ".part", path);
        return image;
    }

    private static string MakeFolder()
    {
        string folder = Directory.CreateTempSubdirectory("modelgen-kernels-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        return folder;
    }

    /// <summary>
    /// Runs the emitted code. Memory that nothing was put into holds a NaN, so that whatever is read without having been
    /// written shows. <paramref name="accumulateInto"/> are gradients that the run's are added to.
    /// </summary>
    /// <exception cref="InvalidOperationException">The code wrote outside its buffers.</exception>
    public RunResults Run(RunArguments run, int threads = 1, IReadOnlyDictionary<string, Tensor>? accumulateInto = null)
    {
        using var memory = new Memory(this);
        foreach ((Parameter parameter, long _) in _layout.Parameters)
        {
            PlanBuffer buffer = _layout.Weight(parameter.ParameterName);
            if (_layout.Formats.TryGetValue(parameter.ParameterName, out StorageFormat? format))
            {
                Pack(format, run.Parameters[parameter.ParameterName], (byte*)(memory[MemorySpace.Weights] + buffer.WordOf(0)));
            }
            else
            {
                Write(memory[MemorySpace.Weights] + buffer.WordOf(0), run.Parameters[parameter.ParameterName], ElementType.Float32);
            }

            // Rows that no contribution covers stay as they are, and they are zero from the beginning.
            if (_graph.Gradients.Any(g => g.Parameter == parameter.ParameterName && g.Value.Op is PadRows))
            {
                new Span<float>(memory[MemorySpace.Gradients] + buffer.WordOf(0), (int)buffer.Elements).Clear();
            }

            if (accumulateInto is not null && accumulateInto.TryGetValue(parameter.ParameterName, out Tensor? gradient))
            {
                Write(memory[MemorySpace.Gradients] + buffer.WordOf(0), gradient, ElementType.Float32);
            }
        }

        foreach (Input input in _graph.NodesOf<Input>().Select(n => (Input)n.Op))
        {
            View view = Program.Inputs[input.InputName];
            Write(memory[MemorySpace.Arena] + view.Buffer.WordOf(0), run.Inputs[input.InputName], input.Type.Element);
        }

        // States are zero at first; those of sequences have others between them.
        foreach ((_, PlanBuffer buffer, _, _) in States())
        {
            new Span<float>(memory[MemorySpace.State] + buffer.WordOf(0), (int)(buffer.Bytes / PlanBuffer.WordBytes)).Clear();
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
                        CacheRows.StoreF16(values, columns, (byte*)row);
                    }
                    else
                    {
                        CacheRows.StoreQ8_0(values, columns, (byte*)row);
                    }
                });
            }
            else if (held is not null)
            {
                for (int i = 0; i < held.Data.Length; i++)
                {
                    memory[MemorySpace.State][buffer.WordOf(0) + at(i)] = (float)held.Data[i];
                }
            }
        }

        long scratch = _cpu.ScratchBytes;
        using (var team = new WorkerTeam(threads, scratch))
        {
            var context = new PlanContext
            {
                Weights = memory[MemorySpace.Weights],
                Gradients = memory[MemorySpace.Gradients],
                Arena = memory[MemorySpace.Arena],
                State = memory[MemorySpace.State],
                Position = run.Position,
                Seed = run.Seed,
                LossNormalizer = (float)run.LossNormalizer,
                GradientScale = (float)run.GradientScale,
                Accumulate = accumulateInto is not null,
            };
            for (int i = 0; i < Program.Counts.Count; i++)
            {
                context.Counts[i] = run.CountOf(Program.Counts[i].Symbol!);
            }

            team.Run(new PlanTask(_method, context));
        }

        memory.Check();
        var results = new RunResults();
        foreach (GraphOutput output in _graph.Outputs)
        {
            View view = Program.Outputs[output.Name];
            float* start = memory[view.Buffer.Space] + view.Buffer.WordOf(view.Offset);
            results.Outputs.Add(output.Name, Tensor.Filled(CaseData.Resolve(output.Value.Shape, run), i => start[i]));
        }

        foreach ((string name, PlanBuffer buffer, Shape shape, Func<int, long> at) in States())
        {
            float* start = memory[MemorySpace.State] + buffer.WordOf(0);
            if (!buffer.Format.IsPlain)
            {
                float[] values = new float[shape.MaximumElements];
                Rows(memory, buffer, shape, at, (row, columns, first) =>
                {
                    fixed (float* to = values)
                    {
                        if (buffer.Format.Name == "F16")
                        {
                            CacheRows.LoadF16<F128>((byte*)row, 0, columns, 1, 0, columns, to + first, 0);
                        }
                        else
                        {
                            CacheRows.LoadQ8_0<F128>((byte*)row, 0, columns, 1, 0, columns, to + first, 0);
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
            float* start = memory[MemorySpace.Gradients] + _layout.Gradient(name).WordOf(0);
            Parameter parameter = _layout.Parameters.First(p => p.Parameter.ParameterName == name).Parameter;
            results.Gradients.Add(name, Tensor.Filled(CaseData.Resolve(parameter.Shape, run), i => start[i]));
        }

        return results;
    }

    // The address of each row of a state that is not single precision, with its columns and its first element's number.
    private static void Rows(Memory memory, PlanBuffer buffer, Shape shape, Func<int, long> at, Action<nint, int, int> visit)
    {
        for (int first = 0; first < shape.MaximumElements; first += shape.Columns)
        {
            visit((nint)((byte*)memory[MemorySpace.State] + buffer.Offset + buffer.Format.Distance(at(first))), shape.Columns, first);
        }
    }

    /// <summary>The states that the graph reads or updates, with the place of each element: all states of a sequence lie together.</summary>
    private IEnumerable<(string Name, PlanBuffer Buffer, Shape Shape, Func<int, long> At)> States()
    {
        foreach ((string name, Shape shape, PlanBuffer buffer) in StatesOf(_graph, _layout))
        {
            int each = (int)shape.DropFirst().MaximumElements;
            yield return (name, buffer, shape, buffer.Elements == shape.MaximumElements ? i => i : i => (i / each * _layout.StatesApart(buffer.Format)) + (i % each));
        }
    }

    internal static IEnumerable<(string Name, Shape Shape, PlanBuffer Buffer)> StatesOf(ModelGraph graph, ModelLayout layout)
    {
        var found = new HashSet<string>();
        foreach (SequenceStates states in graph.NodesOf<SequenceStates>().Select(n => (SequenceStates)n.Op).Where(s => found.Add(s.State)))
        {
            yield return (states.State, states.Shape, layout.States(states.State, states.Shape));
        }

        foreach ((string name, Shape shape) in graph.NodesOf<StateRead>().Select(n => (StateRead)n.Op).Select(s => (s.State, s.Shape))
            .Concat(graph.StateUpdates.Select(u => (u.State, u.Value.Shape))).Where(s => found.Add(s.State)))
        {
            yield return (name, shape, layout.State(name, shape));
        }
    }

    /// <summary>What numbers of a matrix are once they are stored in a format.</summary>
    public static Tensor Stored(StorageFormat format, Tensor matrix)
    {
        byte[] memory = new byte[BlockRows.Bytes(Enum.Parse<WeightFormat>(format.Name), matrix.Dims)];
        float[] row = new float[matrix.Dims[1]];
        var data = new List<double>();
        fixed (byte* packed = memory)
        fixed (float* to = row)
        {
            Pack(format, matrix, packed);
            for (int r = 0; r < matrix.Dims[0]; r++)
            {
                BlockRows.Read(Enum.Parse<WeightFormat>(format.Name), packed, r, row.Length, to);
                data.AddRange(row.Select(x => (double)x));
            }
        }

        return new Tensor(matrix.Dims, [.. data]);
    }

    private static void Pack(StorageFormat format, Tensor matrix, byte* target)
    {
        var info = new ParameterInfo("", [.. matrix.Dims], 0, false, ParameterInitializerKind.Zeros, 0, true) { Format = Enum.Parse<WeightFormat>(format.Name) };
        PackedFiles.Fill(info, target, (row, values) =>
        {
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = (float)matrix.Data[(row * values.Length) + i];
            }
        });
    }

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

    /// <summary>A graph after lowering, with every buffer in its place.</summary>
    private sealed record Draft(CpuProgram Program, ModelLayout Layout, BufferPlacement Placement, Dictionary<MemorySpace, long> Sizes)
    {
        public static Draft Of(ModelGraph graph, BufferPlacement placement, CacheSizes? caches, IReadOnlyDictionary<string, StorageFormat>? formats, ModelGen.Compiler.CacheFormat format)
        {
            ModelLayout layout = ModelLayout.Of([graph], formats: formats, stateFormats: CacheFormats.Of([graph], format));
            CpuProgram program = ModelCompiler.Target(ModelCompiler.Kernels(graph, layout, default), caches ?? CacheSizes.Default, default);
            PlanBuffer[] states = [.. StatesOf(graph, layout).Select(s => s.Buffer)];
            PlanBuffer[] weights = [.. layout.Parameters.Select(p => layout.Weight(p.Parameter.ParameterName))];
            PlanBuffer[] gradients = [.. layout.Parameters.Select(p => layout.Gradient(p.Parameter.ParameterName))];
            var sizes = new Dictionary<MemorySpace, long>();
            if (placement == BufferPlacement.Planned)
            {
                sizes[MemorySpace.Arena] = MemoryPlanner.Plan(program) / PlanBuffer.WordBytes;
                sizes[MemorySpace.Weights] = sizes[MemorySpace.Gradients] = layout.WeightElements;
                sizes[MemorySpace.State] = layout.StateBytes / PlanBuffer.WordBytes * graph.NodesOf<SequenceStates>().Select(n => n.Outputs[0].Shape[0].Maximum).DefaultIfEmpty(1).Max();
            }
            else
            {
                sizes[MemorySpace.Arena] = Place(program.Program.Buffers, placement);
                sizes[MemorySpace.Weights] = Place(weights, placement);
                sizes[MemorySpace.Gradients] = Place(gradients, placement);
                sizes[MemorySpace.State] = Place(states, placement);
            }

            return new Draft(program, layout, placement, sizes);
        }

        private static long Place(IReadOnlyList<PlanBuffer> buffers, BufferPlacement placement)
        {
            long page = Environment.SystemPageSize / sizeof(float);
            long offset = 0;
            foreach (PlanBuffer buffer in buffers)
            {
                if (placement == BufferPlacement.RedZones)
                {
                    buffer.Offset = offset * PlanBuffer.WordBytes;
                    offset += (MemoryPlanner.Align(buffer.Bytes) / PlanBuffer.WordBytes) + RedZone;
                }
                else
                {
                    long words = buffer.Bytes / PlanBuffer.WordBytes;
                    long pages = (words + page - 1) / page * page;
                    buffer.Offset = (offset + pages - words) * PlanBuffer.WordBytes;
                    offset += pages + page;
                }
            }

            return offset;
        }
    }

    /// <summary>The memory of one run.</summary>
    private sealed class Memory : IDisposable
    {
        private readonly GraphFunction _function;
        private readonly Dictionary<MemorySpace, GuardedRegion> _regions = [];

        public Memory(GraphFunction function)
        {
            _function = function;
            foreach ((MemorySpace space, long size) in function._sizes)
            {
                var region = new GuardedRegion(size);
                new Span<uint>(region.Pointer, checked((int)size)).Fill(Poison);
                _regions.Add(space, region);
                if (function._placement == BufferPlacement.Guarded)
                {
                    foreach (PlanBuffer buffer in Buffers(space))
                    {
                        region.ProtectPage(buffer.WordOf(buffer.Elements));
                    }
                }
            }
        }

        public float* this[MemorySpace space] => _regions[space].Pointer;

        /// <summary>Requires that what lies between buffers, and before a guarded one, is untouched.</summary>
        public void Check()
        {
            if (_function._placement == BufferPlacement.Planned)
            {
                return;
            }

            foreach ((MemorySpace space, GuardedRegion region) in _regions)
            {
                long position = 0;
                foreach (PlanBuffer buffer in Buffers(space).OrderBy(b => b.Offset))
                {
                    Require(position, buffer.WordOf(0));
                    position = buffer.WordOf(buffer.Elements);
                    if (_function._placement == BufferPlacement.RedZones)
                    {
                        Require(position, position + RedZone);
                    }
                    else
                    {
                        position += Environment.SystemPageSize / sizeof(float);
                    }

                    void Require(long from, long to)
                    {
                        for (long i = from; i < to; i++)
                        {
                            if (((uint*)region.Pointer)[i] != Poison)
                            {
                                throw new InvalidOperationException($"Element {i - buffer.WordOf(0)} of the buffer '{buffer}' of {buffer.Elements} elements was written.");
                            }
                        }
                    }
                }
            }
        }

        public void Dispose()
        {
            foreach (GuardedRegion region in _regions.Values)
            {
                region.Dispose();
            }
        }

        private IEnumerable<PlanBuffer> Buffers(MemorySpace space) => space switch
        {
            MemorySpace.Arena => _function.Program.Buffers,
            MemorySpace.Weights => _function._layout.Parameters.Select(p => _function._layout.Weight(p.Parameter.ParameterName)),
            MemorySpace.Gradients => _function._layout.Parameters.Select(p => _function._layout.Gradient(p.Parameter.ParameterName)),
            _ => _function.States().Select(s => s.Buffer),
        };
    }

    private sealed class PlanTask(PlanMethod method, PlanContext context) : ITeamTask
    {
        private readonly PlanContext _context = context;

        public void Execute(Worker worker) => method(in _context, worker);
    }
}

/// <summary>Page-aligned memory, single pages of which may be closed, between two closed pages.</summary>
internal sealed unsafe partial class GuardedRegion : IDisposable
{
    private const int None = 0;
    private const int ReadWrite = 3;
    private const int PrivateAnonymous = 0x22;

    private readonly byte* _mapping;
    private readonly nuint _bytes;

    public GuardedRegion(long floats)
    {
        nuint page = (nuint)Environment.SystemPageSize;
        _bytes = (((nuint)floats * sizeof(float)) + page - 1) / page * page + (2 * page);
        _mapping = Map(null, _bytes, ReadWrite, PrivateAnonymous, -1, 0);
        if (_mapping == (byte*)-1)
        {
            throw new OutOfMemoryException($"{_bytes} bytes cannot be mapped.");
        }

        Pointer = (float*)(_mapping + page);
        Protect(_mapping, page);
        Protect(_mapping + _bytes - page, page);
    }

    public float* Pointer { get; }

    /// <summary>Closes the page that starts at an element.</summary>
    public void ProtectPage(long element) => Protect((byte*)(Pointer + element), (nuint)Environment.SystemPageSize);

    public void Dispose() => Unmap(_mapping, _bytes);

    private static void Protect(byte* address, nuint bytes)
    {
        if (SetProtection(address, bytes, None) != 0)
        {
            throw new InvalidOperationException($"A page cannot be protected: error {Marshal.GetLastPInvokeError()}.");
        }
    }

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial byte* Map(byte* address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Unmap(byte* address, nuint length);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int SetProtection(byte* address, nuint length, int protection);
}
