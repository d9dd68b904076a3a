using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;

namespace ModelGen.EncoderTests;

/// <summary>Resources of an assembly that is a file and is not loaded.</summary>
internal static class AssemblyResources
{
    /// <summary>The bytes of a resource of the assembly's own file.</summary>
    public static unsafe byte[] Read(string path, string name)
    {
        using var file = new PEReader(File.OpenRead(path));
        MetadataReader metadata = file.GetMetadataReader();
        foreach (ManifestResource resource in metadata.ManifestResources.Select(metadata.GetManifestResource).Where(r => r.Implementation.IsNil && metadata.GetString(r.Name) == name))
        {
            PEMemoryBlock section = file.GetSectionData(file.PEHeaders.CorHeader!.ResourcesDirectory.RelativeVirtualAddress);
            BlobReader reader = section.GetReader(checked((int)resource.Offset), section.Length - checked((int)resource.Offset));
            return reader.ReadBytes(reader.ReadInt32());
        }

        throw new InvalidOperationException($"{path} has no resource {name}.");
    }
}
