using System.Buffers.Binary;
using System.Diagnostics;
using System.Text;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;

namespace ModelGen.Tests.Runtime;

/// <summary>Files that are made to harm: they cost no more than they weigh, and say nothing in messages that a terminal would obey.</summary>
[Collection(SerialCollection.Name)]
public sealed class HostileFileTests : IDisposable
{
    private readonly TemporaryFile _file = new();

    private string Folder => Path.GetDirectoryName(_file.Path)!;

    public void Dispose() => _file.Dispose();

    public static TheoryData<string> LargeHeaders =>
    [
        "data_offsets", "shape", "empty tensors", "tensors of one element", "unordered", "many extents", "metadata", "metadata key", "metadata value", "escaped metadata value",
        "name", "escaped name", "dtype", "unknown field", "number", "depth", "white space",
    ];

    [Theory]
    [MemberData(nameof(LargeHeaders))]
    public void Reading_a_header_allocates_in_proportion_to_the_file(string kind)
    {
        const int Count = 400_000;
        const int Elements = 200_000;
        static string Tensor(object name, string shape, object begin, object end, string type = "U8")
            => Json($"'{name}':{{'dtype':'{type}','shape':[{shape}],'data_offsets':[{begin},{end}]}}");
        string header = kind switch
        {
            "data_offsets" => "{" + Json($"'a':{{'dtype':'F32','shape':[1],'data_offsets':[{Repeat("0", 20 * Count)}]}}") + "}",
            "shape" => "{" + Tensor("a", Repeat("0", 20 * Count), 0, 0) + "}",
            "empty tensors" => "{" + string.Join(',', Enumerable.Range(0, Count).Select(static i => Tensor(i, "0", 0, 0))) + "}",
            "tensors of one element" => "{" + string.Join(',', Enumerable.Range(0, Elements).Select(static i => Tensor(i, "", i, i + 1))) + "}",
            "unordered" => "{" + string.Join(',', Enumerable.Range(0, Elements).Select(static i => Tensor(i, "1", Elements - 1 - i, Elements - i))) + "}",
            "many extents" => "{" + string.Join(',', Enumerable.Range(0, 60).Select(static i => Tensor(i, Repeat("0", 64), 0, 0))) + "}",
            "metadata" => Json("{'__metadata__':{" + string.Join(',', Enumerable.Range(0, Count).Select(static i => $"'{i}':''")) + "}}"),
            "metadata key" => Json("{'__metadata__':{'" + new string('k', 10 * Count) + "':''}}"),
            "metadata value" => Json("{'__metadata__':{'k':'" + new string('v', 10 * Count) + "'}}"),
            "escaped metadata value" => Json("{'__metadata__':{'k':'" + Escapes(2 * Count) + "'}}"),
            "name" => Json("{'" + new string('n', 10 * Count) + "':1}"),
            "escaped name" => "{" + Tensor(Escapes(Count), "0", 0, 0) + "}",
            "dtype" => "{" + Tensor("a", "0", 0, 0, new string('F', 10 * Count)) + "}",
            "unknown field" => Json("{'a':{'" + new string('x', 10 * Count) + "':1}}"),
            "number" => "{" + Tensor("a", new string('9', 10 * Count), 0, 0) + "}",
            "depth" => Json(string.Concat(Enumerable.Repeat("{'a':", Count))),
            _ => "{" + new string(' ', 10 * Count) + "}",
        };
        WriteFile(Encoding.UTF8.GetBytes(header), kind is "tensors of one element" or "unordered" ? Elements : 0);
        long size = new FileInfo(_file.Path).Length;
        string message = "";
        long allocated = Measure(() =>
        {
            try
            {
                SafetensorsFile.Open(_file.Path).Dispose();
            }
            catch (ModelFileException exception)
            {
                message = exception.Message;
            }
        });
        Assert.True(allocated < (8 * size) + 200_000, $"{kind}: {allocated} bytes for a file of {size}");
        AssertPrintable(message);

        static string Repeat(string text, int count) => string.Join(',', Enumerable.Repeat(text, count));
        static string Escapes(int count) => string.Concat(Enumerable.Repeat("\\u001b", count));
    }

    [Fact]
    public void A_list_that_is_too_long_is_refused_before_it_is_read()
    {
        string zeros = string.Join(',', Enumerable.Repeat("0", 10_000_000));
        foreach (string field in new[] { "data_offsets", "shape" })
        {
            WriteFile(Encoding.UTF8.GetBytes(Json("{'a':{'" + field + "':[" + zeros + "],'dtype':'F32'}}")), 0);
            long allocated = Measure(() => Assert.Equal($"tensor 'a', {field}", Assert.Throws<ModelFileException>(() => SafetensorsFile.Open(_file.Path)).Field));
            // The header, which is the file, is read whole; of the list nothing is made.
            Assert.InRange(allocated, 0, new FileInfo(_file.Path).Length + 100_000);
        }
    }

    [Fact]
    public void More_tensors_or_metadata_than_any_file_has_are_refused()
    {
        IEnumerable<string> tensors = Enumerable.Range(0, 300_000).Select(static i => Json($"'{i}':{{'dtype':'F32','shape':[0],'data_offsets':[0,0]}}"));
        WriteFile(Encoding.UTF8.GetBytes("{" + string.Join(',', tensors) + "}"), 0);
        Assert.Equal("at most 262144 tensors", Assert.Throws<ModelFileException>(() => SafetensorsFile.Open(_file.Path)).Expected);
        WriteFile(Encoding.UTF8.GetBytes(Json("{'__metadata__':{" + string.Join(',', Enumerable.Range(0, 70_000).Select(static i => $"'{i}':''")) + "}}")), 0);
        Assert.Equal("at most 65536 entries", Assert.Throws<ModelFileException>(() => SafetensorsFile.Open(_file.Path)).Expected);
    }

    [Theory]
    [InlineData("\u001b[2J\u0007\n\r\0")]
    [InlineData("\u202e\u2066\u200b\u2028\u0085\u009b31m")]
    public void What_messages_repeat_of_a_file_is_printable_and_short(string text)
    {
        string nasty = text + new string('x', 5000) + text;
        string[] strings = [nasty, text, nasty[..130], "\ud83d\ude00" + text];
        foreach (string value in strings)
        {
            // Escaped, and as it is but for what JSON does not allow.
            foreach (string raw in new[] { System.Text.Json.JsonSerializer.Serialize(value), "\"" + string.Concat(value.Where(static c => c >= ' ')) + "\"" })
            {
                foreach (string header in new[]
                {
                    "{R:1}",
                    "{'a':{'dtype':R,'shape':[1],'data_offsets':[0,4]}}",
                    "{'a':{R:1}}",
                    "{'__metadata__':{R:1}}",
                    "{'__metadata__':{R:'1',R:'1'}}",
                    "{R:{'dtype':'F32','shape':[2],'data_offsets':[0,4]}}",
                    "{R:{'dtype':'I32','shape':[1],'data_offsets':[0,4]}}",
                })
                {
                    WriteFile(Encoding.UTF8.GetBytes(Json(header).Replace("R", raw, StringComparison.Ordinal)), 4);
                    AssertPrintable(Assert.Throws<ModelFileException>(() => ModelWeights.Load(FakeModels.Table(), _file.Path)).Message);
                }

                foreach (string alphabet in new[] { "{'format':R}", "{R:1}", "{'format':'modelgen.character','version':1,'characters':[R]}", "{'replacement':R}" })
                {
                    File.WriteAllText(_file.Path, Json(alphabet).Replace("R", raw, StringComparison.Ordinal));
                    AssertPrintable(Assert.Throws<ModelFileException>(() => CharacterTokenizer.Load(_file.Path)).Message);
                }
            }

            AssertPrintable(new ModelFileException("a\u001b[31m/b", value, value, value).Message);
        }
    }

    [Fact]
    public void A_pipe_a_device_and_a_directory_are_refused_at_once()
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        string pipe = Path.Combine(Folder, "pipe");
        using (Process made = Process.Start("mkfifo", [pipe]))
        {
            made.WaitForExit();
            Assert.Equal(0, made.ExitCode);
        }

        string link = Path.Combine(Folder, "link");
        File.CreateSymbolicLink(link, pipe);
        string directoryLink = Path.Combine(Folder, "directory");
        File.CreateSymbolicLink(directoryLink, "/tmp");
        foreach (string path in new[] { pipe, link, "/dev/zero", Folder, directoryLink })
        {
            Refused<ModelFileException>(path, () => SafetensorsFile.Open(path).Dispose());
            Refused<ModelFileException>(path, () => ModelWeights.Load(FakeModels.Table(), path).Dispose());
            Refused<ModelFileException>(path, () => CharacterTokenizer.Load(path));
            if (Directory.Exists(path))
            {
                Refused<ModelFileException>(path, () => TokenDataset.FromFile(path).Dispose());
            }
            else
            {
                Refused<InvalidDataException>(path, () => TokenDataset.FromFile(path).Dispose());
            }
        }

        string missing = Path.Combine(Folder, "none", "file");
        Refused<DirectoryNotFoundException>(missing, () => SafetensorsFile.Open(missing).Dispose());
        Refused<FileNotFoundException>(_file.Path, () => SafetensorsFile.Open(_file.Path).Dispose());
        Refused<FileNotFoundException>(_file.Path, () => CharacterTokenizer.Load(_file.Path));
        Refused<FileNotFoundException>(_file.Path, () => TokenDataset.FromFile(_file.Path).Dispose());

        static void Refused<TException>(string path, Action action)
            where TException : Exception
        {
            // A regression would wait for ever.
            Task<TException> task = Task.Run(() => Assert.Throws<TException>(action));
            Assert.True(task.Wait(TimeSpan.FromSeconds(20)), path);
            Assert.Contains(path, task.Result.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_link_to_a_file_is_the_file()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 3);
        weights.Save(_file.Path);
        string link = Path.Combine(Folder, "link");
        File.CreateSymbolicLink(link, Path.GetFileName(_file.Path));
        string second = Path.Combine(Folder, "second");
        File.CreateSymbolicLink(second, link);
        ModelWeights.Load(FakeModels.Table(), second).Dispose();
    }

    [Fact]
    public void Saving_where_it_cannot_be_names_the_path_that_was_given()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 3);
        string missing = Path.Combine(Folder, "none", "model.safetensors");
        IOException exception = Assert.ThrowsAny<IOException>(() => weights.Save(missing));
        Assert.Contains(missing, exception.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(".tmp", exception.Message, StringComparison.Ordinal);

        // A path below a file.
        weights.Save(_file.Path);
        string below = Path.Combine(_file.Path, "model.safetensors");
        exception = Assert.ThrowsAny<IOException>(() => weights.Save(below));
        Assert.Contains(below, exception.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(".tmp", exception.Message, StringComparison.Ordinal);

        // A name that is as long as names may be, so that the temporary one is too long.
        string longest = Path.Combine(Folder, new string('n', 255));
        exception = Assert.ThrowsAny<IOException>(() => weights.Save(longest));
        Assert.Contains(longest, exception.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(".tmp", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_alphabet_of_all_characters_loads_and_costs_little()
    {
        var text = new StringBuilder();
        for (int value = 0; value <= 0x10FFFF; value++)
        {
            if (Rune.IsValid(value))
            {
                text.Append(new Rune(value).ToString());
            }
        }

        CharacterTokenizer all = CharacterTokenizer.FromText(text.ToString());
        all.Save(_file.Path);
        long size = new FileInfo(_file.Path).Length;
        CharacterTokenizer? loaded = null;
        long allocated = Measure(() => loaded = CharacterTokenizer.Load(_file.Path));
        Assert.Equal(all.VocabularySize, loaded!.VocabularySize);
        Assert.True(allocated < (8 * size) + 200_000, $"{allocated} bytes for a file of {size}");
    }

    /// <summary>JSON that is written with apostrophes.</summary>
    private static string Json(string text) => text.Replace('\'', '"');

    private static void AssertPrintable(string message)
    {
        Assert.InRange(message.Length, 0, 6000);
        foreach (Rune rune in message.Replace("\n  ", "", StringComparison.Ordinal).EnumerateRunes())
        {
            Assert.False(rune.Value is < 0x20 or (>= 0x7F and < 0xA0) or 0x200B or 0x2028 or 0x202E or 0x2066, $"U+{rune.Value:X4} in {message.Length} characters");
        }
    }

    private static long Measure(Action action)
    {
        action();
        long before = GC.GetAllocatedBytesForCurrentThread();
        action();
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    private void WriteFile(byte[] header, long data)
    {
        using FileStream stream = File.Create(_file.Path);
        byte[] prefix = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(prefix, header.Length);
        stream.Write(prefix);
        stream.Write(header);
        stream.SetLength(8 + header.Length + data);
    }
}
