using System.Globalization;
using System.Text.RegularExpressions;

namespace ModelGen.Tests.Ptx;

/// <summary>What an assembler or a device would refuse, or what no program may do.</summary>
public sealed class PtxException(string message) : Exception(message);

/// <summary>The kinds of registers.</summary>
internal enum RegisterKind
{
    F32,
    B32,
    B64,
    Pred,
    B16,
}

/// <summary>An operand: a register of a kind, where literals have registers of their own.</summary>
internal readonly record struct PtxRegister(RegisterKind Kind, int Index);

/// <summary>One instruction.</summary>
/// <param name="Name">Its name with all suffixes.</param>
/// <param name="Text">As it is written.</param>
internal sealed record PtxInstruction(string Name, string Text)
{
    public PtxOpcode Opcode { get; init; }

    /// <summary>The predicate that guards it; −1 for none.</summary>
    public int Guard { get; init; } = -1;

    public bool IsGuardNegated { get; init; }

    public PtxRegister Result { get; init; }

    public PtxRegister A { get; init; }

    public PtxRegister B { get; init; }

    public PtxRegister C { get; init; }

    /// <summary>The registers that are moved to or from memory, one after the other; those of a vector in braces, or one.</summary>
    public PtxRegister[] Moved { get; init; } = [];

    /// <summary>The registers of each operand in braces, in the order of the operands.</summary>
    public PtxRegister[][] Vectors { get; init; } = [];

    /// <summary>What is added to an address; of a copy, to that in shared memory.</summary>
    public int Offset { get; init; }

    /// <summary>What is added to the address that a copy reads from.</summary>
    public int SourceOffset { get; init; }

    /// <summary>What is added to the address of the barrier that a bulk copy tells of its bytes.</summary>
    public int BarrierOffset { get; init; }

    /// <summary>Integers that are a part of the instruction.</summary>
    public int[] Immediates { get; init; } = [];

    /// <summary>The registers of single precision that it names.</summary>
    public int[] Floats { get; init; } = [];

    public int Target { get; set; }

    /// <summary>Of a call, which registers go into which of the function's.</summary>
    public List<(PtxRegister From, PtxRegister To)> Arguments { get; init; } = [];
}

/// <summary>What an instruction does, with the type of its numbers.</summary>
internal enum PtxOpcode
{
    Move32, Move64, MoveSpecial, LoadParameter32, LoadParameter64, LoadGlobal, StoreGlobal, LoadShared, StoreShared, SameAddress,
    LoadMatrix, LoadMatrixTransposed, CopyAsync, CommitCopies, WaitForCopies, MultiplyTf32, MultiplyBf16, RoundTf32, PackBf16,
    AddF, SubtractF, MultiplyF, DivideF, MaximumF, MinimumF, FusedF, NegateF, AbsoluteF, SquareRootF, ReciprocalF, ApproximateReciprocalF, ApproximatePowerF, CopySignF, SelectF,
    AddI, SubtractI, MultiplyI, MultiplyAddI, DivideS, RemainderS, RemainderU, MaximumS, MinimumS, NegateI, AbsoluteS,
    AndI, OrI, XorI, ShiftLeft, ShiftRightU, ShiftRightS, RotateLeft, SelectI,
    AddL, SubtractL, MultiplyL, MultiplyWideS, ShiftRightL, ShiftLeftL, OrL, SelectL, LongOfUnsigned, MinimumU,
    AddD, SubtractD, MultiplyD, DivideD, FusedD, AbsoluteD, DoubleOfFloat, DoubleOfSigned, DoubleOfLong, LongOfDouble, TruncatedDouble, SignedOfDouble,
    GreaterD, GreaterOrEqualD, GreaterL, GreaterOrEqualL,
    FloatOfSigned, FloatOfUnsigned, LongOfSigned, LowOfLong,
    LessF, EqualF, GreaterF, GreaterOrEqualF, LessS, LessOrEqualS, EqualS, NotEqualS, GreaterS, GreaterOrEqualS, GreaterOrEqualU, LessU, AndP, OrP,
    UnpackHalves, PackHalves, FloatOfHalf, HalfOfFloat, Bf16OfFloat, Permute, LoadGlobalByte, LoadGlobalHalf, StoreGlobalHalf,
    Branch, Return, Barrier, WarpBarrier, Shuffle, Ballot, MatchAny, HighestBit, PopulationCount,
    Call, ReturnFromCall, StoreParameter, AddRelease, AddRelaxed, LoadAcquire, LoadRelaxed, Prefetch,
    InitializeBarrier, ArriveAtBarrier, ExpectBytes, TryWait, CopyBulk, FenceProxy,
    FenceWarpgroup, MultiplyWarpgroup, CommitWarpgroup, WaitForWarpgroup,
}

/// <summary>An entry of a module, read and checked as an assembler would.</summary>
internal sealed partial class PtxEntryPoint
{
    private readonly Dictionary<string, (RegisterKind Kind, int Index)> _registers = [];
    private readonly Dictionary<string, int> _labels = [];
    private readonly Dictionary<string, PtxRegister> _literals = [];
    private readonly int[] _counts = new int[5];
    private readonly List<(PtxInstruction Instruction, string Label)> _branches = [];
    private readonly Dictionary<string, (PtxEntryPoint Function, int Start, int[] Registers)> _functions = [];
    private readonly Dictionary<string, PtxRegister> _arguments = [];

    public required string Name { get; init; }

    public List<(string Name, int Bytes)> Parameters { get; } = [];

    /// <summary>The instructions: first those of the functions that it calls, then its own, so that who comes back from a call waits for those that are in it.</summary>
    public List<PtxInstruction> Code { get; } = [];

    /// <summary>The first instruction of its own.</summary>
    public int Start { get; private set; }

    /// <summary>Whether it is a function, whose parameters are registers.</summary>
    public bool IsFunction { get; private init; }

    /// <summary>The registers that are declared, of each kind: what a function's hold where a call begins is anything.</summary>
    public List<(RegisterKind Kind, int First, int Count)> Declared { get; } = [];

    /// <summary>Literals, and the registers that hold them from the beginning.</summary>
    public List<(PtxRegister Register, ulong Value)> Literals { get; } = [];

    public Dictionary<string, int> SharedOffsets { get; } = [];

    public int SharedBytes { get; private set; }

    public int MaximumThreads { get; private init; }

    /// <summary>Whether it has memory whose size the launch says.</summary>
    public bool HasDynamicMemory { get; private set; }

    /// <summary>Where memory begins whose size the launch says: no more aligned than it asks to be.</summary>
    public int DynamicOffset { get; private set; }

    /// <summary>Whether threads meet at barriers in shared memory, to which bulk copies are told.</summary>
    public bool HasBarriers { get; private set; }

    /// <summary>Whether four warps multiply together.</summary>
    public bool HasWarpgroups { get; private set; }

    public int CountOf(RegisterKind kind) => _counts[(int)kind];

    /// <summary>Reads a module.</summary>
    public static Dictionary<string, PtxEntryPoint> Read(string module)
    {
        if (module.FirstOrDefault(c => c > 0x7E) is not '\0' and char foreign)
        {
            // In comments too.
            throw new PtxException(FormattableString.Invariant($"U+{(int)foreign:X4} is no character of a module"));
        }

        string text = Regex.Replace(module, @"//[^\n]*", "");
        Match version = Regex.Match(text, @"\.version\s+(\d+)\.(\d+)"), target = Regex.Match(text, @"\.target\s+sm_(\d+)(a?)\s");
        if (!version.Success || !target.Success || !text.Contains(".address_size 64", StringComparison.Ordinal))
        {
            throw new PtxException("a module states its version, its target and the size of addresses");
        }

        int isa = (10 * int.Parse(version.Groups[1].Value, CultureInfo.InvariantCulture)) + int.Parse(version.Groups[2].Value, CultureInfo.InvariantCulture), processor = int.Parse(target.Groups[1].Value, CultureInfo.InvariantCulture) + (target.Groups[2].Length > 0 ? Specific : 0);
        var entries = new Dictionary<string, PtxEntryPoint>();
        var functions = new Dictionary<string, PtxEntryPoint>();
        MatchCollection shared = Regex.Matches(text[..Regex.Match(text, @"\.entry\b|\.func\b").Index], @"^(\.extern\s+)?\.shared\s.*$", RegexOptions.Multiline);
        foreach (Match match in Regex.Matches(text, @"^(?:(\.visible)\s+\.entry|\.func)\s+([^\s(]+)\s*\(([^)]*)\)\s*(?:\.maxntid\s+(\d+),\s*1,\s*1\s*)?(?:\.minnctapersm\s+\d+\s*)?\{(.*?)\n\}", RegexOptions.Multiline | RegexOptions.Singleline))
        {
            bool isFunction = !match.Groups[1].Success;
            if (isFunction == match.Groups[4].Success)
            {
                continue;
            }

            var entry = new PtxEntryPoint { Name = match.Groups[2].Value, IsFunction = isFunction, MaximumThreads = isFunction ? 0 : int.Parse(match.Groups[4].Value, CultureInfo.InvariantCulture) };
            if (!Regex.IsMatch(entry.Name, @"^[a-zA-Z][a-zA-Z0-9_$]*$"))
            {
                throw new PtxException($"{entry.Name} is no name of an entry");
            }

            foreach (Match parameter in Regex.Matches(match.Groups[3].Value, @"\.param\s+\.(\w+)\s+(\w+)"))
            {
                entry.Parameters.Add((parameter.Groups[2].Value, parameter.Groups[1].Value.EndsWith("64", StringComparison.Ordinal) ? 8 : 4));
            }

            // Memory of the module is a block's own; a function's lies at the same place in whoever calls it.
            foreach (Match declaration in shared.Where(declaration => !declaration.Groups[1].Success))
            {
                entry.ReadLine(declaration.Value, isa, processor);
            }

            entry.ReadBody(match.Groups[5].Value, isa, processor, functions, [.. shared.Where(declaration => declaration.Groups[1].Success).Select(declaration => declaration.Value)]);
            if (!(isFunction ? functions : entries).TryAdd(entry.Name, entry))
            {
                throw new PtxException($"two entries are called {entry.Name}");
            }
        }

        return entries.Count == Regex.Count(text, @"\.entry\b") && functions.Count == Regex.Count(text, @"\.func\b") ? entries : throw new PtxException("an entry that cannot be read");
    }

    private void ReadBody(string body, int isa, int processor, Dictionary<string, PtxEntryPoint> functions, string[] dynamic)
    {
        if (IsFunction)
        {
            foreach ((string name, int bytes) in Parameters)
            {
                RegisterKind kind = bytes == 8 ? RegisterKind.B64 : RegisterKind.B32;
                _arguments.Add(name, new PtxRegister(kind, _counts[(int)kind]++));
            }
        }

        foreach (string name in Regex.Matches(body, @"\bcall\.uni\s+(\w+)").Select(call => call.Groups[1].Value).Distinct())
        {
            Include(functions.TryGetValue(name, out PtxEntryPoint? function) ? function : throw new PtxException($"{Name}: no function before it is called {name}"));
        }

        Start = Code.Count;
        string[] lines = [.. body.Split('\n').Select(l => l.Trim()).Where(l => l.Length > 0)];

        // Memory whose size a launch says lies behind all other.
        static bool IsShared(string line) => line.StartsWith(".shared", StringComparison.Ordinal);
        foreach (string line in lines.Where(IsShared).Concat(dynamic).Concat(lines.Where(line => !IsShared(line))))
        {
            ReadLine(line, isa, processor);
        }

        if (Code.Count == Start || Code[^1].Opcode != PtxOpcode.Return)
        {
            throw new PtxException($"{Name}: it does not end with a return");
        }

        if (SharedBytes > 48 * 1024)
        {
            throw new PtxException($"{Name}: {SharedBytes} bytes of shared memory are more than a block has without asking");
        }

        foreach ((PtxInstruction branch, string to) in _branches)
        {
            branch.Target = _labels.TryGetValue(to, out int target) ? target : throw new PtxException($"{Name}: no place is called {to}");
        }
    }

    /// <summary>Takes a function's instructions, with registers of their own.</summary>
    private void Include(PtxEntryPoint function)
    {
        if (function._functions.Count > 0 || IsFunction)
        {
            throw new PtxException($"{Name}: a function that calls another one is not known here");
        }

        int[] registers = [.. _counts];
        PtxRegister Moved(PtxRegister register) => register with { Index = register.Index + registers[(int)register.Kind] };
        _functions.Add(function.Name, (function, Code.Count, registers));
        int first = Code.Count;
        foreach (PtxInstruction instruction in function.Code)
        {
            // An instruction that has no second operand, say, names a register all the same, which is not looked at.
            Code.Add(instruction with
            {
                Opcode = instruction.Opcode == PtxOpcode.Return ? PtxOpcode.ReturnFromCall : instruction.Opcode,
                Guard = instruction.Guard < 0 ? -1 : instruction.Guard + registers[(int)RegisterKind.Pred],
                Result = Moved(instruction.Result),
                A = instruction.Opcode == PtxOpcode.MoveSpecial ? instruction.A : Moved(instruction.A),
                B = Moved(instruction.B),
                C = Moved(instruction.C),
                Moved = [.. instruction.Moved.Select(Moved)],
                Vectors = [.. instruction.Vectors.Select(v => v.Select(Moved).ToArray())],
                Target = instruction.Target + first,
            });
        }

        Literals.AddRange(function.Literals.Select(literal => (Moved(literal.Register), literal.Value)));
        for (int kind = 0; kind < _counts.Length; kind++)
        {
            _counts[kind] += function._counts[kind];
        }
    }

    [GeneratedRegex(@"^(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*(.*);$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex InstructionPattern { get; }

    [GeneratedRegex(@"\{[^}]*\}|[^,{}]+")]
    private static partial Regex OperandPattern { get; }

    [GeneratedRegex(@"^\[(%\w+)(?:\+(\d+))?\]$")]
    private static partial Regex AddressPattern { get; }

    [GeneratedRegex(@"^(\w+?)(?:\+(\d+))?$")]
    private static partial Regex PlacePattern { get; }

    private void ReadLine(string line, int isa, int processor)
    {
        // Nearly all lines are instructions, and no declaration, label or call is like one.
        if (line[^1] == ';' && line[0] != '.' && !line.StartsWith("call.uni", StringComparison.Ordinal))
        {
            Code.Add(ReadInstruction(line, isa, processor));
        }
        else if (Regex.Match(line, @"^(\w+):$") is { Success: true } label)
        {
            if (!_labels.TryAdd(label.Groups[1].Value, Code.Count))
            {
                throw new PtxException($"{Name}: two places are called {label.Groups[1].Value}");
            }
        }
        else if (Regex.Match(line, @"^\.reg\s+\.(\w+)\s+(%\w+)<(\d+)>;$") is { Success: true } declared)
        {
            RegisterKind kind = declared.Groups[1].Value switch { "f32" => RegisterKind.F32, "b32" => RegisterKind.B32, "b64" => RegisterKind.B64, "pred" => RegisterKind.Pred, "b16" => RegisterKind.B16, string other => throw new PtxException($"{Name}: registers of {other}") };
            int count = int.Parse(declared.Groups[3].Value, CultureInfo.InvariantCulture);
            Declared.Add((kind, _counts[(int)kind], count));
            for (int i = 0; i < count; i++)
            {
                _registers.Add(declared.Groups[2].Value + i.ToString(CultureInfo.InvariantCulture), (kind, _counts[(int)kind]++));
            }
        }
        else if (Regex.Match(line, @"^\.shared\s+\.align\s+(\d+)\s+\.b8\s+(\w+)\[(\d+)\];$") is { Success: true } shared)
        {
            int alignment = int.Parse(shared.Groups[1].Value, CultureInfo.InvariantCulture);
            SharedBytes = (SharedBytes + alignment - 1) / alignment * alignment;
            SharedOffsets.Add(shared.Groups[2].Value, SharedBytes);
            SharedBytes += int.Parse(shared.Groups[3].Value, CultureInfo.InvariantCulture);
        }
        else if (Regex.Match(line, @"^\.extern\s+\.shared\s+\.align\s+(\d+)\s+\.b8\s+(\w+)\[\];$") is { Success: true } dynamic)
        {
            // Behind all other memory, at the least multiple of what is asked for that is none of twice as much.
            int alignment = int.Parse(dynamic.Groups[1].Value, CultureInfo.InvariantCulture);
            DynamicOffset = (((SharedBytes + (2 * alignment) - 1) / (2 * alignment)) * 2 * alignment) + alignment;
            HasDynamicMemory = true;
            SharedOffsets.Add(dynamic.Groups[2].Value, DynamicOffset);
        }
        else if (line is "{" or "}" && !IsFunction)
        {
            // A scope of a call's parameters.
            _arguments.Clear();
        }
        else if (Regex.Match(line, @"^\.param\s+\.b(32|64)\s+(\w+);$") is { Success: true } argument && !IsFunction)
        {
            RegisterKind kind = argument.Groups[1].Value == "64" ? RegisterKind.B64 : RegisterKind.B32;
            if (!_arguments.TryAdd(argument.Groups[2].Value, new PtxRegister(kind, _counts[(int)kind]++)))
            {
                throw new PtxException($"{Name}: two parameters are called {argument.Groups[2].Value}");
            }
        }
        else if (Regex.Match(line, @"^call\.uni\s+(\w+),\s*\(([^)]*)\);$") is { Success: true } call)
        {
            (PtxEntryPoint function, int start, int[] registers) = _functions[call.Groups[1].Value];
            string[] given = [.. call.Groups[2].Value.Split(',').Select(a => a.Trim())];
            if (given.Length != function.Parameters.Count)
            {
                throw new PtxException($"{Name}: {function.Name} takes {function.Parameters.Count} parameters: {line}");
            }

            var arguments = new List<(PtxRegister, PtxRegister)>();
            for (int i = 0; i < given.Length; i++)
            {
                PtxRegister to = function._arguments[function.Parameters[i].Name];
                if (!_arguments.TryGetValue(given[i], out PtxRegister from) || from.Kind != to.Kind)
                {
                    throw new PtxException($"{Name}: {given[i]} is no parameter of {function.Parameters[i].Bytes} bytes: {line}");
                }

                arguments.Add((from, to with { Index = to.Index + registers[(int)to.Kind] }));
            }

            arguments.AddRange(function.Declared.SelectMany(d => Enumerable.Range(d.First + registers[(int)d.Kind], d.Kind == RegisterKind.Pred ? 0 : d.Count).Select(i => (new PtxRegister(d.Kind, -1), new PtxRegister(d.Kind, i)))));
            Code.Add(new PtxInstruction("call.uni", line) { Opcode = PtxOpcode.Call, Target = start, Arguments = arguments });
        }
        else
        {
            Code.Add(ReadInstruction(line, isa, processor));
        }
    }

    private PtxInstruction ReadInstruction(string line, int isa, int processor)
    {
        Match match = InstructionPattern.Match(line);
        if (!match.Success)
        {
            throw new PtxException($"{Name}: cannot be read: {line}");
        }

        string name = match.Groups[3].Value;
        string[] operands = match.Groups[4].Value.Length == 0 ? [] : [.. OperandPattern.Matches(match.Groups[4].Value).Select(o => o.Value.Trim()).Where(o => o.Length > 0)];
        // A word and its halves: which of both is taken apart is said by the braces alone.
        string key = name == "mov.b32" && operands.Length == 2 && operands[0][0] == '{' ? "mov.b32 {}" : name == "mov.b32" && operands.Length == 2 && operands[1][0] == '{' ? "mov.b32 ,{}" : name;
        if (!Table.TryGetValue(key, out (PtxOpcode Opcode, string Signature, int Isa, int Processor) known))
        {
            throw new PtxException($"{Name}: unknown instruction: {line}");
        }

        // What is a processor's own, no other has, be it older or newer.
        bool isOwn = known.Processor > Specific;
        if (known.Isa > isa || (isOwn ? known.Processor != processor : known.Processor > (processor > Specific ? processor - Specific : processor)))
        {
            throw new PtxException($"{Name}: needs PTX {known.Isa / 10}.{known.Isa % 10} and sm_{(isOwn ? FormattableString.Invariant($"{known.Processor - Specific}a") : known.Processor)}: {line}");
        }

        if (operands.Length != known.Signature.Length)
        {
            throw new PtxException($"{Name}: takes {known.Signature.Length} operands: {line}");
        }

        PtxOpcode opcode = known.Opcode;
        var read = new PtxRegister[5];
        var vectors = new List<PtxRegister[]>();
        int offset = 0, sourceOffset = 0, barrierOffset = 0;
        var floats = new HashSet<int>();
        var immediates = new List<int>();
        string? label = null;
        for (int i = 0; i < operands.Length; i++)
        {
            switch (known.Signature[i])
            {
                case 'L':
                    label = operands[i];
                    break;
                case 'P' when IsFunction || opcode == PtxOpcode.StoreParameter:
                    if (!_arguments.TryGetValue(operands[i].Trim('[', ']'), out PtxRegister place))
                    {
                        throw new PtxException($"{Name}: no parameter: {line}");
                    }

                    if (place.Kind != (name.EndsWith("64", StringComparison.Ordinal) ? RegisterKind.B64 : RegisterKind.B32))
                    {
                        throw new PtxException($"{Name}: a parameter of {(place.Kind == RegisterKind.B64 ? 8 : 4)} bytes: {line}");
                    }

                    read[i] = place;
                    opcode = place.Kind == RegisterKind.B64 ? PtxOpcode.Move64 : PtxOpcode.Move32;
                    break;
                case 'P':
                    string parameter = operands[i].Trim('[', ']');
                    offset = 0;
                    foreach ((string each, int bytes) in Parameters)
                    {
                        offset = (offset + bytes - 1) / bytes * bytes;
                        if (each == parameter)
                        {
                            if (bytes != (opcode == PtxOpcode.LoadParameter64 ? 8 : 4))
                            {
                                throw new PtxException($"{Name}: a parameter of {bytes} bytes: {line}");
                            }

                            parameter = "";
                            break;
                        }

                        offset += bytes;
                    }

                    if (parameter.Length > 0)
                    {
                        throw new PtxException($"{Name}: no parameter: {line}");
                    }

                    break;
                case 'G' or 'S':
                    Match address = AddressPattern.Match(operands[i]);
                    if (!address.Success)
                    {
                        throw new PtxException($"{Name}: no address: {line}");
                    }

                    int further = address.Groups[2].Success ? int.Parse(address.Groups[2].Value, CultureInfo.InvariantCulture) : 0;
                    (offset, sourceOffset, barrierOffset) = (opcode, i) switch
                    {
                        (PtxOpcode.CopyAsync or PtxOpcode.CopyBulk, 1) => (offset, further, barrierOffset),
                        (PtxOpcode.CopyBulk, 3) => (offset, sourceOffset, further),
                        _ => (further, sourceOffset, barrierOffset),
                    };
                    read[i] = Operand(address.Groups[1].Value, known.Signature[i] == 'G' ? 'd' : 'r', line);
                    break;
                case >= '2' and <= '9' or 'V':
                    vectors.Add(Vector(operands[i], known.Signature[i], line, known.Signature[i] == 'V' ? WidthOf(name) / 2 : 0));
                    floats.UnionWith(vectors[^1].Where(r => r.Kind == RegisterKind.F32).Select(r => r.Index));
                    break;
                case '_':
                    // The state of a barrier, which nobody wants.
                    _ = operands[i] == "_" ? 0 : throw new PtxException($"{Name}: {operands[i]} is a state, which is not known here: {line}");
                    break;
                case 'I':
                    immediates.Add(int.TryParse(operands[i], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int immediate) ? immediate : throw new PtxException($"{Name}: {operands[i]} is no literal: {line}"));
                    break;
                default:
                    read[i] = Operand(operands[i], known.Signature[i], line);
                    if (name == "mov.u32" && i == 1 && operands[i][0] == '%' && !_registers.ContainsKey(operands[i]))
                    {
                        opcode = PtxOpcode.MoveSpecial;
                    }

                    if (read[i].Kind == RegisterKind.F32)
                    {
                        floats.Add(read[i].Index);
                    }

                    break;
            }
        }

        HasBarriers |= opcode is PtxOpcode.InitializeBarrier or PtxOpcode.CopyBulk or PtxOpcode.TryWait or PtxOpcode.ArriveAtBarrier or PtxOpcode.ExpectBytes;
        HasWarpgroups |= opcode is PtxOpcode.MultiplyWarpgroup or PtxOpcode.FenceWarpgroup or PtxOpcode.CommitWarpgroup or PtxOpcode.WaitForWarpgroup;
        if (opcode == PtxOpcode.MultiplyWarpgroup && (immediates.Take(2).Any(i => i is not 1 and not -1) || immediates.Skip(2).Any(i => i is not 0 and not 1)))
        {
            throw new PtxException($"{Name}: factors are taken as they are or negated (1, -1), and turned or not (1, 0): {line}");
        }

        int guard = match.Groups[2].Length > 0 ? Operand(match.Groups[2].Value, 'p', line).Index : -1;
        if (opcode == PtxOpcode.CopyAsync && !(operands[2] == "16" || (operands[2] is "4" or "8" && name.StartsWith("cp.async.ca", StringComparison.Ordinal))))
        {
            throw new PtxException($"{Name}: no size of a copy: {line}");
        }

        if (opcode is PtxOpcode.WaitForCopies && operands[0][0] == '%')
        {
            throw new PtxException($"{Name}: the number of copies is no literal: {line}");
        }

        PtxRegister[] moved = vectors.Count == 1 ? vectors[0] : opcode is PtxOpcode.LoadGlobal or PtxOpcode.LoadGlobalByte or PtxOpcode.LoadGlobalHalf or PtxOpcode.LoadShared ? [read[0]] : opcode is PtxOpcode.StoreGlobal or PtxOpcode.StoreGlobalHalf or PtxOpcode.StoreShared ? [read[1]] : [];
        var instruction = new PtxInstruction(name, line)
        {
            Opcode = opcode,
            Guard = guard,
            IsGuardNegated = match.Groups[1].Length > 0,
            Result = read[0],
            A = read[1],
            B = read[2],
            C = read[3],
            Moved = moved,
            Vectors = [.. vectors],
            Offset = offset,
            SourceOffset = sourceOffset,
            BarrierOffset = barrierOffset,
            Immediates = [.. immediates],
            Floats = [.. floats],
        };
        if (label is not null)
        {
            _branches.Add((instruction, label));
        }

        if (name.StartsWith("cvt", StringComparison.Ordinal) && operands.Skip(1).Any(o => o[0] != '%'))
        {
            throw new PtxException($"{Name}: a literal is converted: {line}");
        }

        if (operands.Length > 1 && known.Signature[0] is 'f' or 'r' or 'd' or 'p' or 'x' or 'h' && operands[0][0] != '%')
        {
            throw new PtxException($"{Name}: the result is no register: {line}");
        }

        return instruction;
    }

    // What is added to a processor's number where it is that one and no later one.
    private const int Specific = 1000;

    // The columns of a product of four warps.
    private static int WidthOf(string name) => int.Parse(Regex.Match(name, @"\.m64n(\d+)k").Groups[1].Value, CultureInfo.InvariantCulture);

    // Two or four registers in braces: of single precision (2, 4), of 32 bits (3, 5) or of 16 (6); or so many of single precision (V).
    private PtxRegister[] Vector(string text, char kind, string line, int accumulators = 0)
    {
        int count = accumulators > 0 ? accumulators : kind is '2' or '3' or '6' ? 2 : 4;
        string[] parts = text.StartsWith('{') && text.EndsWith('}') ? [.. text[1..^1].Split(',').Select(p => p.Trim())] : [];
        return parts.Length == count && parts.All(p => p.StartsWith('%'))
            ? [.. parts.Select(p => Operand(p, kind is '2' or '4' or 'V' ? 'f' : kind == '6' ? 'h' : 'r', line))]
            : throw new PtxException($"{Name}: {text} are not {count} registers: {line}");
    }

    // Kinds: f, r, d and p are registers of that kind or literals that fit; x is a register of 32 bits of either kind.
    private PtxRegister Operand(string text, char kind, string line)
    {
        if (text.StartsWith('%') && _registers.TryGetValue(text, out (RegisterKind Kind, int Index) register))
        {
            char has = register.Kind switch { RegisterKind.F32 => 'f', RegisterKind.B32 => 'r', RegisterKind.B64 => 'd', RegisterKind.B16 => 'h', _ => 'p' };
            return has == kind || (kind == 'x' && has is 'f' or 'r') ? new PtxRegister(register.Kind, register.Index) : throw new PtxException($"{Name}: {text} is of another type: {line}");
        }

        if (text is "%tid.x" or "%ctaid.x" or "%ctaid.y" or "%nctaid.x" && kind == 'r')
        {
            return new PtxRegister(RegisterKind.B32, text switch { "%tid.x" => 0, "%ctaid.x" => 1, "%ctaid.y" => 2, _ => 3 });
        }

        if (text.StartsWith('%'))
        {
            throw new PtxException($"{Name}: {text} is not declared: {line}");
        }

        ulong value;
        RegisterKind of = kind switch { 'f' => RegisterKind.F32, 'd' => RegisterKind.B64, 'r' => RegisterKind.B32, _ => throw new PtxException($"{Name}: {text} is no register: {line}") };
        if (text.StartsWith("0f", StringComparison.Ordinal) && kind == 'f')
        {
            value = uint.Parse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        }
        else if (text.StartsWith("0d", StringComparison.Ordinal) && kind == 'd')
        {
            value = text.Length == 18 ? ulong.Parse(text.AsSpan(2), NumberStyles.HexNumber, CultureInfo.InvariantCulture) : throw new PtxException($"{Name}: {text} is no number of double precision: {line}");
        }
        else if (PlacePattern.Match(text) is { Success: true } named && SharedOffsets.TryGetValue(named.Groups[1].Value, out int place) && kind == 'r')
        {
            value = (ulong)place + (named.Groups[2].Success ? ulong.Parse(named.Groups[2].Value, CultureInfo.InvariantCulture) : 0);
        }
        else if (kind != 'f' && long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long integer))
        {
            value = kind == 'r' ? integer is >= int.MinValue and <= uint.MaxValue ? (uint)integer : throw new PtxException($"{Name}: {text} does not fit 32 bits: {line}") : (ulong)integer;
        }
        else
        {
            throw new PtxException($"{Name}: {text} is no operand of this type: {line}");
        }

        if (!_literals.TryGetValue($"{kind}{value}", out PtxRegister literal))
        {
            literal = new PtxRegister(of, _counts[(int)of]++);
            _literals.Add($"{kind}{value}", literal);
            Literals.Add((literal, value));
        }

        return literal;
    }

    private static readonly Dictionary<string, (PtxOpcode Opcode, string Signature, int Isa, int Processor)> Table = new()
    {
        ["mov.u32"] = (PtxOpcode.Move32, "rr", 10, 10),
        ["mov.f32"] = (PtxOpcode.Move32, "ff", 10, 10),
        ["mov.b32"] = (PtxOpcode.Move32, "xx", 10, 10),
        ["mov.b32 {}"] = (PtxOpcode.UnpackHalves, "6r", 10, 10),
        ["mov.b32 ,{}"] = (PtxOpcode.PackHalves, "r6", 10, 10),
        ["cvt.f32.f16"] = (PtxOpcode.FloatOfHalf, "fh", 10, 10),
        ["cvt.rn.f16.f32"] = (PtxOpcode.HalfOfFloat, "hf", 10, 10),
        ["cvt.rn.bf16.f32"] = (PtxOpcode.Bf16OfFloat, "hf", 70, 80),
        ["prmt.b32"] = (PtxOpcode.Permute, "rrrr", 20, 20),
        ["ld.global.u8"] = (PtxOpcode.LoadGlobalByte, "rG", 10, 10),
        ["ld.global.u16"] = (PtxOpcode.LoadGlobalHalf, "rG", 10, 10),
        ["st.global.b16"] = (PtxOpcode.StoreGlobalHalf, "Gh", 10, 10),
        ["ld.global.v2.u32"] = (PtxOpcode.LoadGlobal, "3G", 10, 10),
        ["ld.global.v4.u32"] = (PtxOpcode.LoadGlobal, "5G", 10, 10),
        ["st.global.v2.b32"] = (PtxOpcode.StoreGlobal, "G3", 10, 10),
        ["ld.param.u32"] = (PtxOpcode.LoadParameter32, "rP", 10, 10),
        ["ld.param.u64"] = (PtxOpcode.LoadParameter64, "dP", 10, 10),
        ["ld.global.f32"] = (PtxOpcode.LoadGlobal, "fG", 10, 10),
        ["ld.global.u32"] = (PtxOpcode.LoadGlobal, "rG", 10, 10),
        ["ld.global.u64"] = (PtxOpcode.LoadGlobal, "dG", 10, 10),
        ["st.global.f32"] = (PtxOpcode.StoreGlobal, "Gf", 10, 10),
        ["st.global.u32"] = (PtxOpcode.StoreGlobal, "Gr", 10, 10),
        ["ld.global.v4.f32"] = (PtxOpcode.LoadGlobal, "4G", 10, 10),
        ["ld.global.v2.f32"] = (PtxOpcode.LoadGlobal, "2G", 10, 10),
        ["st.shared.v2.f32"] = (PtxOpcode.StoreShared, "S2", 10, 10),
        ["st.shared.v2.b32"] = (PtxOpcode.StoreShared, "S3", 10, 10),
        ["st.shared.v4.b32"] = (PtxOpcode.StoreShared, "S5", 10, 10),
        ["ldmatrix.sync.aligned.m8n8.x4.shared.b16"] = (PtxOpcode.LoadMatrix, "5S", 65, 75),
        ["ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16"] = (PtxOpcode.LoadMatrixTransposed, "5S", 65, 75),
        ["cp.async.cg.shared.global"] = (PtxOpcode.CopyAsync, "SGrr", 70, 80),
        ["cp.async.ca.shared.global"] = (PtxOpcode.CopyAsync, "SGrr", 70, 80),
        ["cp.async.commit_group"] = (PtxOpcode.CommitCopies, "", 70, 80),
        ["cp.async.wait_group"] = (PtxOpcode.WaitForCopies, "r", 70, 80),
        ["mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"] = (PtxOpcode.MultiplyTf32, "4534", 70, 80),
        ["mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"] = (PtxOpcode.MultiplyBf16, "4534", 70, 80),
        ["cvt.rna.tf32.f32"] = (PtxOpcode.RoundTf32, "rx", 70, 80),
        ["cvt.rn.bf16x2.f32"] = (PtxOpcode.PackBf16, "rff", 70, 80),
        ["ld.shared.f32"] = (PtxOpcode.LoadShared, "fS", 10, 10),
        ["ld.shared.v2.f32"] = (PtxOpcode.LoadShared, "2S", 10, 10),
        ["ld.shared.v4.f32"] = (PtxOpcode.LoadShared, "4S", 10, 10),
        ["ld.shared.u32"] = (PtxOpcode.LoadShared, "rS", 10, 10),
        ["st.shared.u32"] = (PtxOpcode.StoreShared, "Sr", 10, 10),
        ["ld.volatile.shared.u64"] = (PtxOpcode.LoadShared, "dS", 10, 10),
        ["st.shared.u64"] = (PtxOpcode.StoreShared, "Sd", 10, 10),
        ["st.shared.f32"] = (PtxOpcode.StoreShared, "Sf", 10, 10),
        ["cvta.to.global.u64"] = (PtxOpcode.SameAddress, "dd", 20, 20),
        ["add.rn.f32"] = (PtxOpcode.AddF, "fff", 10, 10),
        ["sub.rn.f32"] = (PtxOpcode.SubtractF, "fff", 10, 10),
        ["mul.rn.f32"] = (PtxOpcode.MultiplyF, "fff", 10, 10),
        ["div.rn.f32"] = (PtxOpcode.DivideF, "fff", 14, 20),
        ["max.NaN.f32"] = (PtxOpcode.MaximumF, "fff", 70, 80),
        ["min.NaN.f32"] = (PtxOpcode.MinimumF, "fff", 70, 80),
        ["fma.rn.f32"] = (PtxOpcode.FusedF, "ffff", 20, 20),
        ["neg.f32"] = (PtxOpcode.NegateF, "ff", 10, 10),
        ["abs.f32"] = (PtxOpcode.AbsoluteF, "ff", 10, 10),
        ["sqrt.rn.f32"] = (PtxOpcode.SquareRootF, "ff", 14, 20),
        ["rcp.rn.f32"] = (PtxOpcode.ReciprocalF, "ff", 14, 20),
        ["rcp.approx.ftz.f32"] = (PtxOpcode.ApproximateReciprocalF, "ff", 14, 10),
        ["ex2.approx.ftz.f32"] = (PtxOpcode.ApproximatePowerF, "ff", 14, 10),
        ["copysign.f32"] = (PtxOpcode.CopySignF, "fff", 20, 20),
        ["selp.f32"] = (PtxOpcode.SelectF, "fffp", 10, 10),
        ["selp.b32"] = (PtxOpcode.SelectI, "rrrp", 10, 10),
        ["add.s32"] = (PtxOpcode.AddI, "rrr", 10, 10),
        ["sub.s32"] = (PtxOpcode.SubtractI, "rrr", 10, 10),
        ["mul.lo.s32"] = (PtxOpcode.MultiplyI, "rrr", 10, 10),
        ["mul.lo.u32"] = (PtxOpcode.MultiplyI, "rrr", 10, 10),
        ["mad.lo.s32"] = (PtxOpcode.MultiplyAddI, "rrrr", 10, 10),
        ["div.s32"] = (PtxOpcode.DivideS, "rrr", 10, 10),
        ["rem.s32"] = (PtxOpcode.RemainderS, "rrr", 10, 10),
        ["rem.u32"] = (PtxOpcode.RemainderU, "rrr", 10, 10),
        ["max.s32"] = (PtxOpcode.MaximumS, "rrr", 10, 10),
        ["min.s32"] = (PtxOpcode.MinimumS, "rrr", 10, 10),
        ["neg.s32"] = (PtxOpcode.NegateI, "rr", 10, 10),
        ["abs.s32"] = (PtxOpcode.AbsoluteS, "rr", 10, 10),
        ["and.b32"] = (PtxOpcode.AndI, "rrr", 10, 10),
        ["or.b32"] = (PtxOpcode.OrI, "rrr", 10, 10),
        ["xor.b32"] = (PtxOpcode.XorI, "rrr", 10, 10),
        ["shl.b32"] = (PtxOpcode.ShiftLeft, "rrr", 10, 10),
        ["shr.u32"] = (PtxOpcode.ShiftRightU, "rrr", 10, 10),
        ["shr.s32"] = (PtxOpcode.ShiftRightS, "rrr", 10, 10),
        ["shf.l.wrap.b32"] = (PtxOpcode.RotateLeft, "rrrr", 31, 32),
        ["add.s64"] = (PtxOpcode.AddL, "ddd", 10, 10),
        ["mul.lo.s64"] = (PtxOpcode.MultiplyL, "ddd", 10, 10),
        ["mul.wide.s32"] = (PtxOpcode.MultiplyWideS, "drr", 10, 10),
        ["shr.u64"] = (PtxOpcode.ShiftRightL, "ddr", 10, 10),
        ["cvt.rn.f32.s32"] = (PtxOpcode.FloatOfSigned, "fr", 10, 10),
        ["cvt.rn.f32.u32"] = (PtxOpcode.FloatOfUnsigned, "fr", 10, 10),
        ["cvt.s64.s32"] = (PtxOpcode.LongOfSigned, "dr", 10, 10),
        ["cvt.u32.u64"] = (PtxOpcode.LowOfLong, "rd", 10, 10),
        ["setp.lt.f32"] = (PtxOpcode.LessF, "pff", 10, 10),
        ["setp.eq.f32"] = (PtxOpcode.EqualF, "pff", 10, 10),
        ["setp.gt.f32"] = (PtxOpcode.GreaterF, "pff", 10, 10),
        ["setp.ge.f32"] = (PtxOpcode.GreaterOrEqualF, "pff", 10, 10),
        ["setp.lt.s32"] = (PtxOpcode.LessS, "prr", 10, 10),
        ["setp.le.s32"] = (PtxOpcode.LessOrEqualS, "prr", 10, 10),
        ["setp.eq.s32"] = (PtxOpcode.EqualS, "prr", 10, 10),
        ["setp.ne.s32"] = (PtxOpcode.NotEqualS, "prr", 10, 10),
        ["setp.gt.s32"] = (PtxOpcode.GreaterS, "prr", 10, 10),
        ["setp.ge.s32"] = (PtxOpcode.GreaterOrEqualS, "prr", 10, 10),
        ["setp.ge.u32"] = (PtxOpcode.GreaterOrEqualU, "prr", 10, 10),
        ["and.pred"] = (PtxOpcode.AndP, "ppp", 10, 10),
        ["or.pred"] = (PtxOpcode.OrP, "ppp", 10, 10),
        ["bra"] = (PtxOpcode.Branch, "L", 10, 10),
        ["ret"] = (PtxOpcode.Return, "", 10, 10),
        ["bar.sync"] = (PtxOpcode.Barrier, "r", 10, 10),
        ["bar.warp.sync"] = (PtxOpcode.WarpBarrier, "r", 60, 30),
        ["bfind.u32"] = (PtxOpcode.HighestBit, "rr", 20, 20),
        ["match.any.sync.b32"] = (PtxOpcode.MatchAny, "rrr", 60, 70),
        ["popc.b32"] = (PtxOpcode.PopulationCount, "rr", 20, 20),
        ["vote.sync.ballot.b32"] = (PtxOpcode.Ballot, "rpr", 60, 30),
        ["shfl.sync.bfly.b32"] = (PtxOpcode.Shuffle, "rrrrr", 60, 30),
        ["st.param.b32"] = (PtxOpcode.StoreParameter, "Pr", 20, 20),
        ["st.param.b64"] = (PtxOpcode.StoreParameter, "Pd", 20, 20),
        ["red.release.gpu.global.add.u32"] = (PtxOpcode.AddRelease, "Gr", 60, 70),
        ["red.relaxed.gpu.global.add.u32"] = (PtxOpcode.AddRelaxed, "Gr", 60, 70),
        ["ld.acquire.gpu.global.u32"] = (PtxOpcode.LoadAcquire, "rG", 60, 70),
        ["ld.relaxed.gpu.global.u32"] = (PtxOpcode.LoadRelaxed, "rG", 60, 70),
        ["prefetch.global.L2"] = (PtxOpcode.Prefetch, "G", 20, 20),
        ["setp.lt.u32"] = (PtxOpcode.LessU, "prr", 10, 10),

        // Double precision, in registers of 64 bits, which take numbers of any type.
        ["mov.u64"] = (PtxOpcode.Move64, "dd", 10, 10),
        ["mov.f64"] = (PtxOpcode.Move64, "dd", 10, 13),
        ["st.global.u64"] = (PtxOpcode.StoreGlobal, "Gd", 10, 10),
        ["add.rn.f64"] = (PtxOpcode.AddD, "ddd", 10, 13),
        ["sub.rn.f64"] = (PtxOpcode.SubtractD, "ddd", 10, 13),
        ["mul.rn.f64"] = (PtxOpcode.MultiplyD, "ddd", 10, 13),
        ["div.rn.f64"] = (PtxOpcode.DivideD, "ddd", 14, 20),
        ["fma.rn.f64"] = (PtxOpcode.FusedD, "dddd", 10, 13),
        ["abs.f64"] = (PtxOpcode.AbsoluteD, "dd", 10, 13),
        ["setp.gt.f64"] = (PtxOpcode.GreaterD, "pdd", 10, 13),
        ["setp.ge.f64"] = (PtxOpcode.GreaterOrEqualD, "pdd", 10, 13),
        ["cvt.f64.f32"] = (PtxOpcode.DoubleOfFloat, "df", 10, 13),
        ["cvt.rn.f64.s32"] = (PtxOpcode.DoubleOfSigned, "dr", 10, 13),
        ["cvt.rn.f64.s64"] = (PtxOpcode.DoubleOfLong, "dd", 10, 13),
        ["cvt.rni.s64.f64"] = (PtxOpcode.LongOfDouble, "dd", 10, 13),
        ["cvt.rzi.s64.f64"] = (PtxOpcode.TruncatedDouble, "dd", 10, 13),
        ["cvt.rni.s32.f64"] = (PtxOpcode.SignedOfDouble, "rd", 10, 13),
        ["sub.s64"] = (PtxOpcode.SubtractL, "ddd", 10, 10),
        ["shl.b64"] = (PtxOpcode.ShiftLeftL, "ddr", 10, 10),
        ["or.b64"] = (PtxOpcode.OrL, "ddd", 10, 10),
        ["selp.b64"] = (PtxOpcode.SelectL, "dddp", 10, 10),
        ["cvt.u64.u32"] = (PtxOpcode.LongOfUnsigned, "dr", 10, 10),
        ["setp.gt.s64"] = (PtxOpcode.GreaterL, "pdd", 10, 10),
        ["setp.ge.s64"] = (PtxOpcode.GreaterOrEqualL, "pdd", 10, 10),
        ["min.u32"] = (PtxOpcode.MinimumU, "rrr", 10, 10),
        ["st.global.v4.b32"] = (PtxOpcode.StoreGlobal, "G5", 10, 10),

        // Barriers in shared memory, and the copy engine that tells them of its bytes.
        ["mbarrier.init.shared::cta.b64"] = (PtxOpcode.InitializeBarrier, "Sr", 78, 80),
        ["mbarrier.arrive.shared::cta.b64"] = (PtxOpcode.ArriveAtBarrier, "_S", 78, 80),
        ["mbarrier.arrive.expect_tx.shared::cta.b64"] = (PtxOpcode.ExpectBytes, "_Sr", 80, 90),
        ["mbarrier.try_wait.parity.shared::cta.b64"] = (PtxOpcode.TryWait, "pSr", 78, 90),
        ["cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"] = (PtxOpcode.CopyBulk, "SGrS", 80, 90),
        ["fence.proxy.async.shared::cta"] = (PtxOpcode.FenceProxy, "", 80, 90),

        // Products of four warps.
        ["wgmma.fence.sync.aligned"] = (PtxOpcode.FenceWarpgroup, "", 80, Specific + 90),
        ["wgmma.commit_group.sync.aligned"] = (PtxOpcode.CommitWarpgroup, "", 80, Specific + 90),
        ["wgmma.wait_group.sync.aligned"] = (PtxOpcode.WaitForWarpgroup, "I", 80, Specific + 90),
    };

    static PtxEntryPoint()
    {
        for (int columns = 8; columns <= 256; columns += 8)
        {
            Table.Add(FormattableString.Invariant($"wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.bf16.bf16"), (PtxOpcode.MultiplyWarpgroup, "VddpIIII", 80, Specific + 90));
        }
    }
}
