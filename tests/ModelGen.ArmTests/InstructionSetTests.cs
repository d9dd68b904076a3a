using System.Runtime.InteropServices;
using ModelGen.Leaf;

namespace ModelGen.ArmTests;

/// <summary>The path that kernels take on arm64 when nobody tells them to.</summary>
[Collection(ArmTestGroup.Name)]
public sealed class InstructionSetTests(ArmFixture fixture)
{
    private const int Length = 16;

    [ArmTheory]
    [InlineData(ArmFixture.Oldest)]
    [InlineData(ArmFixture.Newest)]
    public void Kernels_take_the_neon_path(string processor)
    {
        MemoryImage image = new();
        long name = image.Reserve(Length);
        image.Add(new Command { Kind = CommandKind.PathName, To = name, Length = Length });
        Assert.Equal("NEON", PathName(fixture.Program.RunEmulated(image.ToArray(), processor)));
        Assert.NotEqual("NEON", PathName(fixture.Assembly.RunHere(image.ToArray())));

        string PathName(byte[] memory)
            => string.Concat(MemoryMarshal.Cast<byte, int>(memory.AsSpan((int)name, Length * sizeof(int))).ToArray().TakeWhile(c => c != 0).Select(c => (char)c));
    }
}
