using System.Text;
using CharGpt;
using Examples;
using ModelGen.Tests.Text;

namespace ModelGen.Tests.CharGpt;

public class TextSourceTests
{
    [Fact]
    public void AFileIsReadByteByByteWithoutItsMark()
    {
        using var folder = new TemporaryFolder();
        byte[] text = Encoding.UTF8.GetBytes("Äpfel und 🐉\r\n");
        File.WriteAllBytes(folder.File("plain"), text);
        File.WriteAllBytes(folder.File("marked"), [0xEF, 0xBB, 0xBF, .. text]);
        foreach (string name in new[] { "plain", "marked" })
        {
            using TokenDataset data = TextSource.Open(folder.File(name));
            var tokens = new int[text.Length];
            Assert.Equal(text.Length, data.Length);
            data.CopyTo(0, tokens);
            Assert.Equal(text.Select(b => (int)b), tokens);
        }
    }

    [Fact]
    public void AMissingAnEmptyAndABinaryFileAreReported()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("empty"), []);
        File.WriteAllBytes(folder.File("mark"), [0xEF, 0xBB, 0xBF]);
        File.WriteAllBytes(folder.File("latin1"), [.. "caf"u8, 0xE9, .. " ole"u8]);
        Assert.Contains("no such file", Assert.Throws<UserException>(() => TextSource.Open(folder.File("none"))).Message, StringComparison.Ordinal);
        Assert.Contains("is empty", Assert.Throws<UserException>(() => TextSource.Open(folder.File("empty"))).Message, StringComparison.Ordinal);
        Assert.Contains("is empty", Assert.Throws<UserException>(() => TextSource.Open(folder.File("mark"))).Message, StringComparison.Ordinal);
        Assert.Contains("offset 3", Assert.Throws<UserException>(() => TextSource.Open(folder.File("latin1"))).Message, StringComparison.Ordinal);
        Assert.Contains("is a directory", Assert.Throws<UserException>(() => TextSource.Open(folder.Path)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("é")]
    [InlineData("北")]
    [InlineData("🐉")]
    public void ACharacterMayLieAcrossTwoReads(string character)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(character);
        for (int before = 65536 - bytes.Length - 1; before <= 65537; before++)
        {
            byte[] text = [.. Enumerable.Repeat((byte)'x', before), .. bytes, (byte)'y'];
            Assert.Equal(-1, TextSource.FirstInvalidByte(new MemoryStream(text)));

            // Cut off at the end of the file.
            Assert.Equal(before, TextSource.FirstInvalidByte(new MemoryStream(text, 0, before + bytes.Length - 1)));

            // Broken off by another character.
            text[before + bytes.Length - 1] = (byte)'z';
            Assert.Equal(before, TextSource.FirstInvalidByte(new MemoryStream(text)));
        }
        Assert.Equal(-1, TextSource.FirstInvalidByte(new MemoryStream()));
        Assert.Equal(-1, TextSource.FirstInvalidByte(new MemoryStream(new byte[65536])));
    }
}
