using System.Diagnostics;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.Loader;
using System.Security.Cryptography;
using System.Text;
using Microsoft.CodeAnalysis;
using ModelGen.Compiler;

namespace ModelGen.Tool;

/// <summary>The compiled model of a declaration: from the cache, or compiled into it.</summary>
internal sealed class ModelAssembly
{
    // A process loads an assembly's name once, from wherever that was: the cache may be another one by the next time, or there may be none.
    private static readonly Dictionary<string, Type> s_loaded = [];

    private ModelAssembly(ModelCode code, Type type, bool wasCached, TimeSpan time)
    {
        Code = code;
        Type = type;
        WasCached = wasCached;
        Time = time;
    }

    /// <summary>The declaration.</summary>
    public ModelCode Code { get; }

    /// <summary>The model's class.</summary>
    public Type Type { get; }

    /// <summary>Whether it was compiled before.</summary>
    public bool WasCached { get; }

    /// <summary>How long it took to compile or to find.</summary>
    public TimeSpan Time { get; }

    /// <summary>Where compiled models are kept.</summary>
    public static string CacheFolder
        => Environment.GetEnvironmentVariable("MODELGEN_CACHE") is { Length: > 0 } chosen
            ? chosen
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify), "modelgen", "models");

    /// <summary>Finds or compiles the model of a declaration.</summary>
    public static ModelAssembly Of(ModelCode code)
    {
        long start = Stopwatch.GetTimestamp();
        string source = code.SourceText();
        string name = NameOf(source);
        lock (s_loaded)
        {
            bool wasCached = true;
            if (!s_loaded.TryGetValue(name, out Type? type))
            {
                (type, wasCached) = Find(source, name, code);
                s_loaded.Add(name, type);
            }

            return new ModelAssembly(code, type, wasCached, Stopwatch.GetElapsedTime(start));
        }
    }

    private static (Type Type, bool WasCached) Find(string source, string name, ModelCode code)
    {
        string path = Path.Combine(CacheFolder, name + ".dll");
        bool hasCache = !MayBeWrittenByOthers(CacheFolder);
        if (hasCache && Load(path) is { } cached)
        {
            return (cached, true);
        }

        byte[] image = Compile(source, name, code);
        bool isKept = hasCache && Keep(path, image) && !MayBeWrittenByOthers(CacheFolder);
        Type compiled = (isKept ? Load(path) : null) ?? TypeOf(AssemblyLoadContext.Default.LoadFromStream(new MemoryStream(image)))
            ?? throw new InvalidOperationException($"The compiled assembly has no class {ModelCode.TypeName}.");
        return (compiled, false);
    }

    // In a method of its own: what is in the cache is run without the C# compiler's assemblies.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static byte[] Compile(string source, string name, ModelCode code) => InMemoryCompiler.Compile(source, name, code);

    /// <summary>An assembly's name, which says what the compiled model depends on: the declaration, the compiler of models and the runtime that it is compiled against.</summary>
    internal static string NameOf(string source)
    {
        string text = string.Join('\n', source, Version(typeof(ModelGenerator).Assembly), Version(typeof(CausalSession).Assembly), Environment.Version);
        return "Model_" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..32];
    }

    private static Guid Version(Assembly assembly) => assembly.ManifestModule.ModuleVersionId;

    private static Type? Load(string path)
    {
        if (!File.Exists(path) || MayBeWrittenByOthers(path))
        {
            return null;
        }

        try
        {
            return TypeOf(AssemblyLoadContext.Default.LoadFromAssemblyPath(Path.GetFullPath(path)));
        }
        catch (Exception exception) when (exception is BadImageFormatException or FileLoadException or IOException)
        {
            // Whatever it is, it is made anew.
            return null;
        }
    }

    /// <summary>Whether a file or a folder is there that other users may change: what they put there is not run.</summary>
    private static bool MayBeWrittenByOthers(string path)
        => !OperatingSystem.IsWindows() && Path.Exists(path) && (File.GetUnixFileMode(path) & (UnixFileMode.GroupWrite | UnixFileMode.OtherWrite)) != 0;

    private static Type? TypeOf(Assembly assembly) => assembly.GetType(ModelCode.TypeName);

    /// <summary>Writes an assembly into the cache, where only this user may look; false where there can be no cache.</summary>
    private static bool Keep(string path, byte[] image)
    {
        string temporary = $"{path}.{Environment.ProcessId}.tmp";
        try
        {
            string folder = Path.GetDirectoryName(path)!;
            if (OperatingSystem.IsWindows())
            {
                Directory.CreateDirectory(folder);
            }
            else
            {
                Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            }

            var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }

            using (var stream = new FileStream(temporary, options))
            {
                stream.Write(image);
            }

            File.Move(temporary, path, overwrite: true);
            return true;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
