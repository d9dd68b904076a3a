using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using ModelGen.Runtime;
using ModelGen.Tests.Infrastructure;
using ModelGen.Tests.Training;

namespace ModelGen.Tests.Runtime;

/// <summary>
/// Valid files with something changed at random: whatever reads them throws nothing but what is documented, allocates in proportion, and
/// leaves what it would have loaded into as it was.
/// </summary>
[Collection(SerialCollection.Name)]
public sealed class FileFuzzTests : IDisposable
{
    private const int Batch = 2;
    private const int Length = 4;

    private static readonly string[] s_numbers =
    [
        "0", "1", "-1", "2147483647", "2147483648", "-2147483648", "4294967296", "9007199254740992", "9007199254740993", "9223372036854775807", "9223372036854775808",
        "-9223372036854775808", "18446744073709551615", "1e308", "-1e308", "1e-320", "1e999", "1.5", "NaN", "Infinity", "-Infinity", "", "00", "0x10", "\\u0031",
    ];

    private static readonly string[] s_pieces =
    [
        "{", "}", "[", "]", ",", ":", "\"", "null", "true", "{}", "[]", "\"\"", "[[[[[[[[", "{\"a\":{\"a\":{\"a\":{\"a\":", "\"\\ud800\"", "\"\\u0000\"", "\"\\u001b[31m\"", "\u202e", " ", "\n",
        "\"dtype\":\"F32\"", "\"shape\":[1]", "\"data_offsets\":[0,0]", "\"__metadata__\":{}", "\"modelgen.step\":\"5\"",
    ];

    private readonly TemporaryFile _file = new();

    public void Dispose() => _file.Dispose();

    [Fact]
    public void Weight_files()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(), seed: 3);
        weights.Save(_file.Path);
        Fuzz(4000, Change, path => ModelWeights.Load(FakeModels.Table(), path).Dispose());
        Fuzz(1000, Change, path => ModelWeights.Load(FakeModels.Table(), path, new LoadOptions { IgnoreUnexpected = true, IgnoreDeclaration = true }).Dispose());
    }

    [Fact]
    public void Any_safetensors_file_is_read_to_its_end()
    {
        var writer = new SafetensorsWriter();
        writer.Metadata["k"] = "v";
        writer.Add("a", [3, 2], new float[6]);
        writer.Add("b", [5], new byte[5]);
        writer.Add("c", [], new long[1]);
        writer.Add("d", [0, 7], Array.Empty<float>());
        writer.Save(_file.Path);
        Fuzz(6000, Change, static path =>
        {
            using SafetensorsFile file = SafetensorsFile.Open(path);
            foreach (SafetensorsTensor tensor in file.Tensors)
            {
                file.ReadBytes(tensor, 0, new byte[tensor.ByteLength]);
                if (tensor.IsFloat)
                {
                    file.ReadFloats(tensor, 0, new float[tensor.Length]);
                }
            }
        });
    }

    [Fact]
    public void Checkpoints()
    {
        using ModelWeights weights = ModelWeights.Create(FakeModels.Table(wide: 20), seed: 4);
        using var trainer = new FakeTrainer(weights, new AdamW { Schedule = new WarmupCosine(2, 8) });
        trainer.Step(FakeModels.Tokens(6, 1), FakeModels.Tokens(6, 2));
        trainer.SaveCheckpoint(_file.Path, new Dictionary<string, string> { ["position"] = "5" });
        using var again = new TemporaryFile();
        Fuzz(4000, Change, path =>
        {
            uint[] before = Bits(weights);
            long step = trainer.StepCount;
            try
            {
                trainer.LoadCheckpoint(path);
            }
            catch
            {
                Assert.Equal(before, Bits(weights));
                Assert.Equal(step, trainer.StepCount);
                throw;
            }

            // What was loaded is saved and loads again.
            trainer.SaveCheckpoint(again.Path);
            trainer.LoadCheckpoint(again.Path);
        });
    }

    [Fact]
    public void Checkpoints_of_a_loop()
    {
        using BigramTrainer trainer = BigramTrainer.Create(Batch, Length);
        TokenDataset data = TokenDataset.FromTokens(FakeModels.Tokens(200, 3));
        var options = new TrainingLoopOptions { Steps = 6, EvaluateEvery = 2, CheckpointPath = _file.Path };
        TrainingLoop NewLoop(TrainingLoopOptions with, out TokenBatchLoader loader)
        {
            loader = new TokenBatchLoader(data, Batch, Length, BatchOrder.Shuffled, 1);
            return new TrainingLoop(trainer, loader, new LossEvaluator(data, Batch, Length), with);
        }

        NewLoop(options, out _).Run();
        using var again = new TemporaryFile();
        Fuzz(3000, Change, path =>
        {
            TrainingLoop loop = NewLoop(options with { CheckpointPath = again.Path, Steps = 7 }, out TokenBatchLoader loader);
            LoaderState before = loader.State;
            try
            {
                loop.Resume(path);
            }
            catch
            {
                Assert.Equal(before, loader.State);
                throw;
            }

            // A run that goes on writes a file that can be resumed from.
            if (trainer.StepCount <= options.Steps)
            {
                try
                {
                    loop.Run();
                }
                catch (ArithmeticException)
                {
                    // The file's weights were such that training from them diverges, and no checkpoint was written.
                    return;
                }

                NewLoop(options, out _).Resume(again.Path);
            }
        });
    }

    [Fact]
    public void Alphabets()
    {
        CharacterTokenizer.FromText("aé\ud83d\ude00\n\"", new Rune('a')).Save(_file.Path);
        Fuzz(6000, static (bytes, random) => ChangeText(bytes, random), static path => CharacterTokenizer.Load(path));
    }

    [Fact]
    public void Token_files()
    {
        File.WriteAllBytes(_file.Path, [.. Enumerable.Range(0, 64).Select(static i => (byte)i)]);
        foreach (TokenStorage storage in Enum.GetValues<TokenStorage>())
        {
            Fuzz(500, static (bytes, random) => ChangeBytes(bytes, random), path =>
            {
                try
                {
                    using TokenDataset data = TokenDataset.FromFile(path, storage, offset: 4);
                    data.CopyTo(0, new int[data.Length]);
                    data.RequireVocabulary(1000);
                }
                catch (InvalidDataException)
                {
                    // What this reader documents.
                }
            }, isRefused: false);
        }
    }

    /// <summary>Changes a safetensors file: its bytes anywhere, or its header so that it still is one as far as its length goes.</summary>
    private static byte[] Change(byte[] file, Random random)
    {
        if (random.Next(5) == 0)
        {
            return ChangeBytes(file, random);
        }

        int headerLength = (int)BinaryPrimitives.ReadInt64LittleEndian(file);
        byte[] header = ChangeText(file[8..(8 + headerLength)], random);
        byte[] prefix = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(prefix, header.Length);
        return [.. prefix, .. header, .. file[(8 + headerLength)..]];
    }

    private static byte[] ChangeBytes(byte[] bytes, Random random)
    {
        var changed = new List<byte>(bytes);
        for (int count = random.Next(1, 4); count > 0; count--)
        {
            int at = random.Next(changed.Count + 1);
            switch (random.Next(5))
            {
                case 0 when at < changed.Count:
                    changed[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1 when at < changed.Count:
                    changed[at] = (byte)random.Next(256);
                    break;
                case 2:
                    changed.RemoveRange(at, random.Next(changed.Count - at + 1));
                    break;
                case 3:
                    changed.InsertRange(at, [.. changed.Skip(random.Next(changed.Count + 1)).Take(random.Next(64))]);
                    break;
                default:
                    for (int i = at; i < Math.Min(changed.Count, at + 4); i++)
                    {
                        changed[i] = 0xFF;
                    }

                    break;
            }
        }

        return [.. changed];
    }

    private static byte[] ChangeText(byte[] bytes, Random random)
    {
        if (random.Next(6) == 0)
        {
            return ChangeBytes(bytes, random);
        }

        string text = Encoding.UTF8.GetString(bytes);
        for (int count = random.Next(1, 3); count > 0; count--)
        {
            MatchCollection found = Regex.Matches(text, random.Next(3) switch
            {
                // Numbers, whole strings, and what is between punctuation.
                0 => @"-?\d+(\.\d+)?(e-?\d+)?",
                1 => "\"[^\"]*\"",
                _ => @"[^,:{}\[\]]+|[,:{}\[\]]",
            });
            if (found.Count == 0)
            {
                continue;
            }

            Match match = found[random.Next(found.Count)];
            string replacement = random.Next(6) switch
            {
                0 => s_pieces[random.Next(s_pieces.Length)],
                1 => "",
                2 => match.Value + match.Value,
                3 => found[random.Next(found.Count)].Value,
                4 => "\"" + s_numbers[random.Next(s_numbers.Length)] + "\"",
                _ => s_numbers[random.Next(s_numbers.Length)],
            };
            text = string.Concat(text.AsSpan(0, match.Index), replacement, text.AsSpan(match.Index + match.Length));
        }

        return Encoding.UTF8.GetBytes(text);
    }

    private static uint[] Bits(ModelWeights weights)
        => [.. weights.Table.Parameters.SelectMany(parameter => weights.Parameter(parameter.Name).ToArray()).Select(BitConverter.SingleToUInt32Bits)];

    /// <summary>Changes the file over and over, each time from its original, and reads it; some changes must be noticed and some harmless.</summary>
    private void Fuzz(int rounds, Func<byte[], Random, byte[]> change, Action<string> read, bool isRefused = true)
    {
        byte[] original = File.ReadAllBytes(_file.Path);
        using var changed = new TemporaryFile();
        int refused = 0;
        for (int seed = 0; seed < rounds; seed++)
        {
            bool wasRefused = false;
            RandomCase.Run(seed, random =>
            {
                byte[] bytes = change(original, random);
                File.WriteAllBytes(changed.Path, bytes);
                wasRefused = IsRefused(changed.Path, bytes.Length, original.Length, read);
            });
            refused += wasRefused ? 1 : 0;
        }

        Assert.InRange(refused, isRefused ? rounds / 20 : 0, isRefused ? rounds - 1 : 0);
        File.WriteAllBytes(_file.Path, original);
    }

    private static bool IsRefused(string path, int length, int originalLength, Action<string> read)
    {
        bool refused = false;
        long before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            read(path);
        }
        catch (ModelFileException exception)
        {
            refused = true;
            Assert.StartsWith(path, exception.Message, StringComparison.Ordinal);
            Assert.DoesNotContain('\u001b', exception.Message);
            Assert.True(exception.Message.Length < 20_000, string.Create(CultureInfo.InvariantCulture, $"a message of {exception.Message.Length} characters"));
        }

        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(allocated < (64L * originalLength) + 1_000_000, string.Create(CultureInfo.InvariantCulture, $"{allocated} bytes for a file of {length}"));
        return refused;
    }
}
