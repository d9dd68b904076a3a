using ModelGen.PackageTests;

namespace ModelGen.ArmTests;

/// <summary>A leaf assembly as an arm64 program: compiled by NativeAOT's compiler, whose code generator is that of the JIT, and linked with a C main.</summary>
internal sealed class ArmProgram
{
    // What main and C libraries have. Everything else that the object asks for is the managed runtime, which is not there.
    private static readonly HashSet<string> Provided =
        ["leaf_run", "g_cpuFeatures", "RhpReversePInvoke", "RhpReversePInvokeReturn", "RhpPInvoke", "RhpPInvokeReturn", "memmove", "memset", "memcpy", "memcmp", "ceil", "ceilf", "floor", "floorf", "fmod", "fmodf", "sqrt", "sqrtf", "exp", "log", "pow", "cos", "sin", "tan"];

    private readonly TemporaryFolder _folder;

    /// <summary>Compiles and links the assembly, into a folder.</summary>
    public ArmProgram(TemporaryFolder folder, LeafAssembly assembly)
    {
        _folder = folder;
        string coreLibrary = _folder.Combine("System.Private.CoreLib.dll");
        CoreLibraryPatch.Apply(Path.Combine(Toolchain.CoreLibraries, "System.Private.CoreLib.dll"), coreLibrary);
        string[] otherCoreLibraries = [.. Directory.EnumerateFiles(Toolchain.CoreLibraries, "System.Private.*.dll").Where(path => Path.GetFileName(path) != Path.GetFileName(coreLibrary))];

        string compiled = _folder.Combine("leaf.o");
        Run(Toolchain.Compiler,
        [
            assembly.File,
            "-r", coreLibrary,
            .. otherCoreLibraries.SelectMany(path => new[] { "-r", path }),
            "-r", Path.Combine(Toolchain.FrameworkLibraries, "*.dll"),
            "-o", compiled,
            "--targetarch", "arm64",
            "--targetos", "linux",
            "-O",
            "--nativelib",
            "--export-unmanaged-entrypoints",
            "--generateunmanagedentrypoints:" + LeafAssembly.Name,
            "--exportsfile", _folder.Combine("leaf.exports"),
            "--feature:System.Globalization.Invariant=true",
            "--feature:System.Resources.UseSystemResourceKeys=true",
            "--notrimwarn",
        ]);

        // Whoever calls the runtime after all is told which part of it is missing.
        IEnumerable<string> missing = Run(Toolchain.Symbols, ["-u", compiled]).Lines.Select(line => line.Split(' ')[^1]).Where(name => !Provided.Contains(name));
        string stubs = _folder.Combine("stubs.c");
        File.WriteAllText(stubs, string.Join('\n',
            missing.Select(name => $$"""void {{name}}(void) { fputs("{{name}} of the managed runtime was called\n", stderr); exit(3); }""").Prepend("#include <stdio.h>\n#include <stdlib.h>")));

        Executable = _folder.Combine("leaf");
        string main = Path.Combine(Repository.Root, "tests", "ModelGen.ArmTests", "Leaf", "main.c");
        Run(Toolchain.Linker, ["-O1", "-fno-builtin", "-static", "-Wl,--gc-sections", "-o", Executable, main, stubs, compiled, "-lm"]);
    }

    public string Executable { get; }

    /// <summary>Runs an image in the emulator.</summary>
    /// <param name="image">The memory and the commands.</param>
    /// <param name="processor">The processor to emulate, as the emulator calls it.</param>
    /// <returns>The memory afterwards.</returns>
    public byte[] RunEmulated(byte[] image, string processor)
    {
        string name = Guid.NewGuid().ToString("N");
        string input = _folder.Combine(name + ".in");
        string output = _folder.Combine(name + ".out");
        File.WriteAllBytes(input, image);
        Run(Toolchain.Emulator, ["-cpu", processor, Executable, input, output]);
        return File.ReadAllBytes(output);
    }

    public IReadOnlyList<MachineMethod> Disassemble()
        => MachineMethod.Parse(Run(Toolchain.Disassembler, ["-d", "--no-show-raw-insn", Executable]).Output);

    private CommandResult Run(string program, IEnumerable<string> arguments) => Command.Run(_folder.Path, program, arguments).Succeeded();
}
