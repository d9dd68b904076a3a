using System.Diagnostics;
using System.Globalization;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

public sealed class AtomicFileTests : IDisposable
{
    private readonly TemporaryFile _file = new();

    private string Folder => Path.GetDirectoryName(_file.Path)!;

    public void Dispose() => _file.Dispose();

    [Fact]
    public void The_old_file_is_whole_while_the_new_one_is_written()
    {
        File.WriteAllText(_file.Path, "old");
        AtomicFile.Write(_file.Path, stream =>
        {
            Assert.Equal("old", File.ReadAllText(_file.Path));
            stream.Write("new"u8);
            stream.Flush();
            Assert.Equal("old", File.ReadAllText(_file.Path));
            Assert.Equal(2, Directory.GetFiles(Folder).Length);
        });
        Assert.Equal("new", File.ReadAllText(_file.Path));
        Assert.Single(Directory.GetFiles(Folder));
    }

    [Fact]
    public void A_failed_save_leaves_the_old_file_and_no_other()
    {
        File.WriteAllText(_file.Path, "old");
        Assert.Throws<FormatException>(() => AtomicFile.Write(_file.Path, stream =>
        {
            stream.Write(new byte[1 << 20]);
            throw new FormatException();
        }));
        Assert.Equal("old", File.ReadAllText(_file.Path));
        Assert.Single(Directory.GetFiles(Folder));
    }

    [Fact]
    public void A_link_stays_and_what_it_points_to_is_replaced()
    {
        string target = Path.Combine(Folder, "target");
        File.WriteAllText(target, "old");
        File.CreateSymbolicLink(_file.Path, target);
        AtomicFile.Write(_file.Path, static stream => stream.Write("new"u8));
        Assert.NotNull(new FileInfo(_file.Path).LinkTarget);
        Assert.Equal("new", File.ReadAllText(target));
    }

    [Fact]
    public void A_directory_or_a_missing_folder_is_an_error()
    {
        Assert.Throws<IOException>(() => AtomicFile.Write(Folder, static _ => { }));
        Assert.ThrowsAny<IOException>(() => AtomicFile.Write(Path.Combine(Folder, "none", "file"), static _ => { }));
    }

    [Fact]
    public void What_a_killed_process_left_behind_is_removed_and_nothing_else()
    {
        // No process has this number: the limit of the kernel is lower.
        string stale = Leave("model.safetensors.2147483646-1.tmp", old: true);
        string young = Leave("model.safetensors.2147483646-2.tmp", old: false);
        string running = Leave(string.Create(CultureInfo.InvariantCulture, $"model.safetensors.{Environment.ProcessId}-0.tmp"), old: true);
        string foreign = Leave("model.safetensors.backup.tmp", old: true);
        string plain = Leave("model.safetensors.tmp", old: true);
        string other = Leave("other.2147483646-1.tmp", old: true);
        AtomicFile.Write(_file.Path, static stream => stream.Write("new"u8));
        Assert.False(File.Exists(stale));
        Assert.All([young, running, foreign, plain, other], path => Assert.True(File.Exists(path), path));

        string Leave(string name, bool old)
        {
            string path = Path.Combine(Folder, name);
            File.WriteAllText(path, "x");
            if (old)
            {
                File.SetLastWriteTimeUtc(path, DateTime.UtcNow.AddHours(-1));
            }

            return path;
        }
    }

    [Fact]
    public void A_process_killed_while_it_saves_leaves_a_whole_checkpoint()
    {
        // The child saves over and over, each time other numbers, all alike within one file.
        var start = new ProcessStartInfo(Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet")
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.ArgumentList.Add("exec");
        start.ArgumentList.Add(typeof(AtomicFileTests).Assembly.Location);
        start.Environment["DOTNET_STARTUP_HOOKS"] = typeof(AtomicFileTests).Assembly.Location;
        start.Environment[SaveLoop.Variable] = _file.Path;

        var random = new Random(1);
        float last = 0;
        for (int kill = 0; kill < 4; kill++)
        {
            using Process child = Process.Start(start)!;
            try
            {
                // It says when its first save is done.
                Assert.Equal("saved", child.StandardOutput.ReadLine());
                Thread.Sleep(random.Next(0, 40));
            }
            finally
            {
                child.Kill();
                child.WaitForExit();
            }

            using SafetensorsFile file = SafetensorsFile.Open(_file.Path);
            float[] values = new float[SaveLoop.Length];
            file.ReadFloats(file.Get("values"), 0, values);
            Assert.All(values, value => Assert.Equal(values[0], value));
            Assert.NotEqual(last, values[0]);
            last = values[0];
        }
    }
}

/// <summary>What the child process of the test above does, started as a hook of the runtime before the program's entry point.</summary>
internal static class SaveLoop
{
    public const string Variable = "MODELGEN_TEST_SAVE_LOOP";
    public const int Length = 1 << 18;

    public static void RunIfAsked()
    {
        if (Environment.GetEnvironmentVariable(Variable) is not { Length: > 0 } path)
        {
            return;
        }

        // Ends by itself if the test that started it was killed.
        var clock = Stopwatch.StartNew();
        float[] values = new float[Length];
        for (int round = 0; clock.Elapsed < TimeSpan.FromSeconds(30); round++)
        {
            Array.Fill(values, (Environment.ProcessId * 1000f) + (round % 1000));
            var writer = new SafetensorsWriter();
            writer.Add("values", [Length], values);
            writer.Save(path);
            if (round == 0)
            {
                Console.WriteLine("saved");
            }
        }
    }
}
